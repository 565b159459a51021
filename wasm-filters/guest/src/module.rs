//! What the attributes make of a function: the exports of a module, and its manifest. There is one
//! module in a program, so all of it is nameless or has the name that the contract gives it.

/// `#[init]`: the type of the state, the function, and the JSON Schema of the parameters.
#[doc(hidden)]
#[macro_export]
macro_rules! __init {
    (($state:ty) ($init:expr) ($params:expr)) => {
        impl $crate::exports::State for $state {
            const PARAMS: &'static str = $params;

            fn new(params: $crate::Params<'_>) -> $crate::Result<Self> {
                $init(params).map_err(|reason| reason.to_string())
            }
        }
    };
}

/// `#[filter]`: the kind, the type of the state, the function, name and version.
#[doc(hidden)]
#[macro_export]
macro_rules! __filter {
    (($kind:expr) ($state:ty) ($keep:expr) ($name:expr) ($version:expr)) => {
        #[allow(dead_code, reason = "on other machines nobody calls this")]
        const _: () = {
            $crate::__module!(($kind)($state)($name)($version));

            #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
            extern "C" fn mr_filter(batch: *const u8, len: usize, verdicts: *mut u8) -> i32 {
                // SAFETY: the host hands over what its contract says.
                unsafe { $crate::exports::filter(&LOADED, batch, len, verdicts, $keep) }
            }
        };
        $crate::__native!(filter($state)($keep));
    };
}

/// `#[map]` and `#[flat_map]`, as `#[filter]`.
#[doc(hidden)]
#[macro_export]
macro_rules! __map {
    (($kind:expr) ($state:ty) ($map:expr) ($name:expr) ($version:expr)) => {
        #[allow(dead_code, reason = "on other machines nobody calls this")]
        const _: () = {
            $crate::__module!(($kind)($state)($name)($version));

            #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
            extern "C" fn mr_map(batch: *const u8, len: usize, out: *mut u8) -> i32 {
                // SAFETY: the host hands over what its contract says.
                unsafe { $crate::exports::map(&LOADED, batch, len, out, $map) }
            }
        };
        $crate::__native!(map($state)($map));
    };
}

/// What all kinds have: the state, the manifest, and the functions around it.
#[doc(hidden)]
#[macro_export]
macro_rules! __module {
    (($kind:expr) ($state:ty) ($name:expr) ($version:expr)) => {
        static LOADED: $crate::exports::Loaded<$state> = $crate::exports::Loaded::new();

        const PARTS: [&str; 9] = $crate::exports::manifest::<$state>($kind, $name, $version);
        const LEN: usize = $crate::exports::len(&PARTS);
        #[cfg_attr(target_arch = "wasm32", used, unsafe(link_section = "millrace.filter"))]
        static MANIFEST: [u8; LEN] = $crate::exports::joined(&PARTS);

        #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
        extern "C" fn mr_abi_v1() {}

        #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
        extern "C" fn mr_alloc(len: usize, align: usize) -> *mut u8 {
            $crate::exports::alloc(len, align)
        }

        #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
        extern "C" fn mr_free(at: *mut u8, len: usize, align: usize) {
            // SAFETY: the host gives back what it got, once, with the same length.
            unsafe { $crate::exports::free(at, len, align) }
        }

        #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
        extern "C" fn mr_init(params: *const u8, len: usize) -> i32 {
            // SAFETY: the host hands over what its contract says.
            unsafe { $crate::exports::init(&LOADED, params, len) }
        }
    };
}

/// A test that measures the function as native code.
#[cfg(feature = "native")]
#[doc(hidden)]
#[macro_export]
macro_rules! __native {
    ($kind:ident ($state:ty) ($called:expr)) => {
        #[cfg(test)]
        #[test]
        fn __millrace_native() {
            $crate::native::$kind::<$state>($called);
        }
    };
}

#[cfg(not(feature = "native"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __native {
    ($($any:tt)*) => {};
}
