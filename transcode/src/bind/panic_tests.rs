//! Whatever a request has, binding it ends.

use proptest::prelude::*;

use super::*;
use crate::fixture;

proptest! {
    #[test]
    fn no_request_panics(query in "[a-z0-9.=&%_+]{0,60}", body in "[\\[\\]{}\",:a-z0-9.\\- ]{0,60}", lenient: bool) {
        let (route, captures) = fixture::route("PATCH", "/v1/shapes/a");
        let input = Input { captures, query: &query, body: body.as_bytes(), ..Input::default() };
        let _outcome = bind(&route, &input, lenient);
    }
}
