use crate::json::Json;

/// What the pipeline file says under `params`.
#[derive(Clone, Copy, Debug)]
pub struct Params<'a>(Json<'a>);

impl<'a> Params<'a> {
    /// Reads the text of a JSON object; for tests of a filter.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &'a str) -> Result<Self, String> {
        let json = Json::parse(text.as_bytes())?;
        json.fields().map(|_| Self(json)).ok_or_else(|| "parameters are a map".to_owned())
    }

    /// The parameter as JSON.
    pub fn get(&self, name: &str) -> Option<Json<'a>> {
        self.0.get(name)
    }

    /// A text.
    ///
    /// # Errors
    /// If it is something else.
    pub fn text(&self, name: &str) -> Result<Option<String>, String> {
        self.read(name, "a text", |json| json.text().map(Into::into))
    }

    /// A list of texts; without the parameter it is empty.
    ///
    /// # Errors
    /// If it is something else.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        let texts = self.read(name, "a list of texts", |json| {
            json.items()?.map(|item| item.text().map(Into::into)).collect::<Option<Vec<String>>>()
        });
        texts.map(Option::unwrap_or_default)
    }

    /// A whole number.
    ///
    /// # Errors
    /// If it is something else.
    pub fn int(&self, name: &str) -> Result<Option<i64>, String> {
        self.read(name, "a whole number", |json| json.int())
    }

    /// A number.
    ///
    /// # Errors
    /// If it is something else.
    pub fn number(&self, name: &str) -> Result<Option<f64>, String> {
        self.read(name, "a number", |json| json.number())
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// If it is something else.
    pub fn bool(&self, name: &str) -> Result<Option<bool>, String> {
        self.read(name, "`true` or `false`", |json| json.bool())
    }

    fn read<T>(
        &self,
        name: &str,
        what: &str,
        read: impl FnOnce(Json<'a>) -> Option<T>,
    ) -> Result<Option<T>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(json) => match read(json) {
                Some(value) => Ok(Some(value)),
                None => Err(format!("the parameter `{name}` must be {what}")),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_have_types() {
        let params = r#"{"t": "é", "l": ["a", "b"], "n": 5, "f": 5.5, "b": true}"#;
        let params = Params::parse(params).unwrap();
        assert_eq!(params.text("t").unwrap().as_deref(), Some("é"));
        assert_eq!(params.texts("l").unwrap(), ["a", "b"]);
        assert_eq!(params.int("n").unwrap(), Some(5));
        assert_eq!(params.number("f").unwrap(), Some(5.5));
        assert_eq!(params.bool("b").unwrap(), Some(true));
        assert_eq!(params.int("none").unwrap(), None);
        assert_eq!(params.texts("none").unwrap(), [""; 0]);
        assert_eq!(params.int("f").unwrap_err(), "the parameter `f` must be a whole number");
        assert_eq!(params.texts("t").unwrap_err(), "the parameter `t` must be a list of texts");
        assert!(Params::parse("[]").is_err());
    }
}
