mod columns; // single values of fields that have no terms for them
mod count; // documents by the value of a field
mod excluded; // documents that are not to be found
mod language; // how the pieces of a query are put together
mod mistake; // what is wrong with a query, and where
mod unasked; // what looks like a question and is none

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::ops::{Bound, Range};
use std::path::Path;

use millrace_disk::Disk;
use tantivy::collector::{Collector, Count, TopDocs};
use tantivy::query::{BooleanQuery, Occur, Query, QueryParser, RangeQuery};
use tantivy::query_grammar::{Delimiter, UserInputLeaf};
use tantivy::schema::{Field, OwnedValue, Value as _};
use tantivy::tokenizer::TokenStream;
use tantivy::{DateTime, DocAddress, ReloadPolicy, Searcher, TantivyDocument, Term};

pub use mistake::QueryError;

use self::unasked::Unasked;
use crate::error::IndexError;
use crate::library::Library;
use crate::mapping::{FieldKind, Fields, MappedField, Mapping, OFFSET, QUEUE, STORE_TIME};

/// An index, open for questions.
///
/// It shows what was there when it was opened, whatever a pipeline writes, merges or removes
/// meanwhile.
pub struct Search {
    library: Library,
    /// Nothing, while there are no documents.
    open: Option<Open>,
}

struct Open {
    mapping: Mapping,
    fields: Fields,
    searcher: Searcher,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// In the language that the README shows; words that stand side by side must all be there.
    pub query: String,
    /// Only documents of this time or later, by the mapping's time, microseconds.
    pub from: Option<i64>,
    /// Only documents before this time, likewise.
    pub to: Option<i64>,
    /// How many to show.
    pub limit: usize,
    /// By which field to sort those that are shown; without it, the best matches come first.
    pub sort: Option<(String, Order)>,
    /// Count the found documents by the values of this field.
    pub count_by: Option<String>,
}

/// Which way documents are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The least first.
    Ascending,
    /// The greatest first.
    Descending,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// How many documents match.
    pub total: u64,
    /// Some of them, in order.
    pub hits: Vec<Hit>,
    /// How many of all that match have which value, the most frequent first. A document without one
    /// counts under `None`.
    pub counts: Vec<(Option<String>, u64)>,
}

/// A document.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The queue of its message: broker, topic and number.
    pub queue: String,
    /// The offset of its message.
    pub offset: u64,
    /// When the broker stored its message, microseconds.
    pub store_time: i64,
    /// Its fields that have a value, in the order of the mapping.
    pub fields: Vec<Shown>,
}

/// A field of a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// Which bytes of a text the query asked for, in order.
    pub matched: Vec<Range<usize>>,
}

/// A value of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text, as a whole or by its words.
    Text(String),
    /// A whole number.
    Int(i64),
    /// A floating-point number.
    Double(f64),
    /// True or false.
    Bool(bool),
    /// Microseconds since the Unix epoch.
    Timestamp(i64),
    /// JSON.
    Json(serde_json::Value),
}

impl Search {
    /// Opens what there is now.
    pub fn open(disk: &dyn Disk, to: &Path) -> Result<Self, IndexError> {
        let library = Library::open(disk, to)?;
        let Some(mapping) = library.mapping().cloned() else {
            return Ok(Self { library, open: None });
        };
        let index = library.index(&mapping)?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        let open = Open { fields: mapping.to_tantivy(), mapping, searcher: reader.searcher() };
        Ok(Self { library, open: Some(open) })
    }

    /// The parts that it shows.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// How many documents there are.
    pub fn documents(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.searcher.num_docs())
    }

    /// Answers a question.
    pub fn ask(&self, asked: &Asked) -> Result<Found, QueryError> {
        match &self.open {
            Some(open) => open.ask(asked),
            None => Ok(Found::default()),
        }
    }
}

impl Open {
    fn ask(&self, asked: &Asked) -> Result<Found, QueryError> {
        let query = self.query(asked)?;
        let total = self.collect(&query, &Count)? as u64;
        let counts = match &asked.count_by {
            Some(name) => self.collect(&query, &count::by(&self.mapping, name)?)?,
            None => Vec::new(),
        };
        let limit = asked.limit.min(usize::try_from(total).unwrap_or(usize::MAX));
        let mut hits = Vec::with_capacity(limit);
        if limit > 0 {
            let asked_for = self.asked_for(&query);
            for address in self.top(&query, limit, asked.sort.as_ref())? {
                hits.push(self.hit(address, &asked_for)?);
            }
        }
        Ok(Found { total, hits, counts })
    }

    fn collect<C: Collector>(
        &self,
        query: &dyn Query,
        collector: &C,
    ) -> Result<C::Fruit, IndexError> {
        Ok(self.searcher.search(query, collector)?)
    }

    fn query(&self, asked: &Asked) -> Result<Box<dyn Query>, QueryError> {
        let words =
            |field: &&MappedField| matches!(field.kind, FieldKind::Text | FieldKind::Keyword);
        let fields = self.mapping.fields.iter().filter(words);
        let fields = fields.filter_map(|field| self.fields.schema.get_field(&field.name).ok());
        let tokenizers = self.searcher.index().tokenizers().clone();
        let schema = self.mapping.to_be_asked();
        let parser = QueryParser::new(schema.clone(), fields.collect(), tokenizers);
        let words = self.searcher.index().tokenizers().get("default").unwrap_or_default();
        let unasked =
            Unasked { mapping: &self.mapping, schema: &schema, text: &asked.query, words };
        let query = language::read(&asked.query, &|mut piece| {
            any_value(&mut piece.leaf);
            unasked.check(&piece)?;
            unescape(&mut piece.leaf);
            let leaf = columns::as_range(&self.mapping, piece.leaf)?;
            let query = parser.build_query_from_user_input_ast(leaf);
            query.map_err(|error| mistake::in_query(&self.mapping, &asked.query, &error))
        })?;
        let time = self.fields.schema.get_field(self.mapping.time());
        let time = time.map_err(IndexError::from)?;
        let at = |micros: i64| {
            const MAX: i64 = i64::MAX / 1000;
            let instant = DateTime::from_timestamp_micros(micros.clamp(-MAX, MAX));
            Term::from_field_date(time, instant)
        };
        let from = asked.from.map_or(Bound::Unbounded, |from| Bound::Included(at(from)));
        let to = asked.to.map_or(Bound::Unbounded, |to| Bound::Excluded(at(to)));
        if (&from, &to) == (&Bound::Unbounded, &Bound::Unbounded) {
            return Ok(query);
        }
        let range: Box<dyn Query> = Box::new(RangeQuery::new(from, to));
        Ok(Box::new(BooleanQuery::new(vec![(Occur::Must, query), (Occur::Must, range)])))
    }

    /// The documents to show.
    fn top(
        &self,
        query: &dyn Query,
        limit: usize,
        sort: Option<&(String, Order)>,
    ) -> Result<Vec<DocAddress>, QueryError> {
        let top = TopDocs::with_limit(limit);
        let Some((name, order)) = sort else {
            let found = self.collect(query, &top.order_by_score())?;
            return Ok(found.into_iter().map(|(_, address)| address).collect());
        };
        let order = match order {
            Order::Ascending => tantivy::Order::Asc,
            Order::Descending => tantivy::Order::Desc,
        };
        fn addresses<T>(found: Vec<(T, DocAddress)>) -> Vec<DocAddress> {
            found.into_iter().map(|(_, address)| address).collect()
        }
        let kind = match name.as_str() {
            OFFSET => {
                let top = top.order_by_fast_field::<u64>(name, order);
                return Ok(addresses(self.collect(query, &top)?));
            }
            QUEUE => FieldKind::Keyword,
            STORE_TIME => FieldKind::Timestamp,
            _ => mistake::known(&self.mapping, name, "sort by")?,
        };
        Ok(match kind {
            FieldKind::Keyword => {
                let top = top.order_by_string_fast_field(name, order);
                addresses(self.collect(query, &top)?)
            }
            FieldKind::Int => {
                addresses(self.collect(query, &top.order_by_fast_field::<i64>(name, order))?)
            }
            FieldKind::Double => {
                addresses(self.collect(query, &top.order_by_fast_field::<f64>(name, order))?)
            }
            FieldKind::Bool => {
                addresses(self.collect(query, &top.order_by_fast_field::<bool>(name, order))?)
            }
            FieldKind::Timestamp => {
                let top = top.order_by_fast_field::<DateTime>(name, order);
                addresses(self.collect(query, &top)?)
            }
            FieldKind::Text | FieldKind::Json => {
                return Err(mistake::unsuited(&self.mapping, name, "sort by", |kind| {
                    !matches!(kind, FieldKind::Text | FieldKind::Json)
                }));
            }
        })
    }

    /// The terms that a query asks for, by field.
    fn asked_for(&self, query: &dyn Query) -> BTreeMap<Field, BTreeSet<String>> {
        let mut terms: BTreeMap<Field, BTreeSet<String>> = BTreeMap::new();
        query.query_terms(&mut |term, _| {
            if let Some(text) = term.value().as_str() {
                terms.entry(term.field()).or_default().insert(text.to_owned());
            }
        });
        terms
    }

    fn hit(
        &self,
        address: DocAddress,
        asked_for: &BTreeMap<Field, BTreeSet<String>>,
    ) -> Result<Hit, IndexError> {
        let document: TantivyDocument = self.searcher.doc(address)?;
        let mut fields = Vec::new();
        for (field, mapped) in self.fields.mapped.iter().zip(&self.mapping.fields) {
            let Some(value) = document.get_first(*field) else { continue };
            let value = match mapped.kind {
                FieldKind::Text | FieldKind::Keyword => {
                    value.as_str().map(|text| Value::Text(text.to_owned()))
                }
                FieldKind::Int => value.as_i64().map(Value::Int),
                FieldKind::Double => value.as_f64().map(Value::Double),
                FieldKind::Bool => value.as_bool().map(Value::Bool),
                FieldKind::Timestamp => {
                    value.as_datetime().map(|at| Value::Timestamp(at.into_timestamp_micros()))
                }
                FieldKind::Json => {
                    let owned = OwnedValue::from(value.as_value());
                    serde_json::to_value(&owned).ok().map(Value::Json)
                }
            };
            let Some(value) = value else { continue };
            let matched = match (&value, asked_for.get(field)) {
                (Value::Text(text), Some(terms)) => self.matched(*field, text, terms)?,
                _ => Vec::new(),
            };
            fields.push(Shown { name: mapped.name.clone(), value, matched });
        }
        let segment = self.searcher.segment_reader(address.segment_ord).fast_fields();
        let mut queue = String::new();
        if let Some(queues) = segment.str(QUEUE)?
            && let Some(ord) = queues.ords().first(address.doc_id)
        {
            queues.ord_to_str(ord, &mut queue)?;
        }
        let offset = segment.u64(OFFSET)?.first(address.doc_id).unwrap_or_default();
        let store_time = segment.date(STORE_TIME)?.first(address.doc_id);
        let store_time = store_time.map_or(0, DateTime::into_timestamp_micros);
        Ok(Hit { queue, offset, store_time, fields })
    }

    /// Where the terms are in a text.
    fn matched(
        &self,
        field: Field,
        text: &str,
        terms: &BTreeSet<String>,
    ) -> Result<Vec<Range<usize>>, IndexError> {
        let mut analyzer = self.searcher.index().tokenizer_for_field(field)?;
        let mut tokens = analyzer.token_stream(text);
        let mut matched = Vec::new();
        while let Some(token) = tokens.next() {
            if terms.contains(&token.text) {
                matched.push(token.offset_from..token.offset_to);
            }
        }
        Ok(matched)
    }
}

/// A range without ends has any value. Tantivy drops it.
fn any_value(leaf: &mut UserInputLeaf) {
    if let UserInputLeaf::Range { field: Some(field), lower, upper } = leaf
        && lower.term_str() == "*"
        && upper.term_str() == "*"
    {
        *leaf = UserInputLeaf::Exists { field: mem::take(field) };
    }
}

/// Takes the `\` away that tantivy leaves before signs which mean nothing to it.
fn unescape(leaf: &mut UserInputLeaf) {
    if let UserInputLeaf::Literal(literal) = leaf
        && matches!(literal.delimiter, Delimiter::None)
    {
        for sign in ["*", "?", "!", "&", "|"] {
            literal.phrase = literal.phrase.replace(&format!("\\{sign}"), sign);
        }
    }
}
