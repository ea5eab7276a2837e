//! Examples for each rule, and the spellings of common client libraries as a property test.

use super::*;
use proptest::prelude::*;

const LIMITS: QueryLimits = QueryLimits { query_bytes: 100_000, values: 1_000, value_characters: 500 };

fn parse(raw: &str) -> Result<ProductQuery, QueryError> {
    ProductQuery::parse(raw.as_bytes(), &LIMITS)
}

fn names(raw: &str) -> Vec<String> {
    parse(raw).unwrap_or_else(|error| panic!("{raw}: {error}")).names
}

#[test]
fn no_value_is_no_filter() {
    for raw in
        ["", "name", "name=", "name=[]", "name[]=", "name[0]", "&&", "name=%5B%5D", "name=[ ]", "name=&name=", "name=,"]
    {
        assert_eq!(parse(raw), Ok(ProductQuery::default()), "{raw}");
    }
}

/// The tests of `/products` send more notations.
#[test]
fn the_notations_of_a_list_can_be_mixed() {
    for raw in [
        "name=[\"2m-bandage\",1m-bandage,]",
        "name[4]=2m-bandage&name[2]=1m-bandage",
        "name:list=2m-bandage&name%3Alist=1m-bandage",
        "name=2m-bandage&name[]=1m-bandage",
        "%6eame=2m-bandage&unknown=1&name=1m-bandage",
    ] {
        assert_eq!(names(raw), ["2m-bandage", "1m-bandage"], "{raw}");
    }
}

#[test]
fn elements_of_an_unquoted_list_are_texts_as_written() {
    assert_eq!(names("name=[42,1.50,1e3,null]"), ["42", "1.50", "1e3", "null"]);
    assert_eq!(names("name=[ null , true ,-0,false]"), ["null", "true", "-0", "false"]);
    assert_eq!(names("name=[null]"), ["null"]);
    assert_eq!(names("name=%5Bnull%2C42%5D"), ["null", "42"]);
    assert_eq!(names("name=[007]"), ["007"]);
    assert!(parse("limit=[null]").is_err(), "`null` is a text, not a number and not an empty list");
}

#[test]
fn null_beside_a_quoted_string_is_an_empty_element() {
    assert_eq!(names("name=[\"a\",null]"), ["a"]);
    assert_eq!(names("name=[1e2,-0,true,null,\"\"]"), ["1e2", "-0", "true"]);
    assert_eq!(names("name=[\"null\"]"), ["null"]);
}

#[test]
fn a_value_of_an_element_key_is_one_element_as_written() {
    assert_eq!(names("name[]=[a,b]"), ["[a,b]"]);
    assert_eq!(names("name[]=%22a%22"), ["\"a\""]);
    assert_eq!(names("name=a,b&name=c"), ["a,b", "c"]);
    assert_eq!(names("name[0]=a%2Cb&name=[c]"), ["a,b", "[c]"]);
    assert_eq!(names("name[]=%2525&name[]=+"), ["%25", " "]);
    assert_eq!(names("name:list=a,b"), ["a,b"]);
}

#[test]
fn a_comma_before_a_space_is_text() {
    for raw in [
        "name=STERILE+WATER,+USP",
        "name=STERILE%20WATER,%20USP",
        "name=STERILE WATER%2C USP",
        "name=STERILE+WATER%2C+USP",
    ] {
        assert_eq!(names(raw), ["STERILE WATER, USP"], "{raw}");
    }
    assert_eq!(names("name=a,b%2Cc"), ["a", "b,c"], "an encoded comma beside raw ones is text");
    assert_eq!(names("name=a%2C%2Bb"), ["a", "+b"], "an encoded plus is not a space");
    assert_eq!(names("name=a,b,+c"), ["a", "b, c"]);
}

#[test]
fn a_semicolon_never_splits() {
    assert_eq!(names("name=a;code=b"), ["a;code=b"]);
    assert_eq!(names("name=a=b"), ["a=b"]);
}

#[test]
fn unpaired_brackets_and_quotes_are_text() {
    assert_eq!(names("name=[a"), ["[a"]);
    assert_eq!(names("name=a]"), ["a]"]);
    assert_eq!(names("name=["), ["["]);
    assert_eq!(names("name=[\"a]"), ["\"a"]);
    assert_eq!(names("name=[']"), ["'"]);
    assert_eq!(names("name=[[\"a\"]]"), ["[\"a\"]"]);
    assert_eq!(names("name=\"a\""), ["\"a\""]);
}

#[test]
fn unknown_parameters_are_ignored() {
    assert_eq!(parse("names=a&name[a]=b&name[0][]=c&Name=d&name[]x=e&=f"), Ok(ProductQuery::default()));
}

#[test]
fn invalid_text_is_refused_with_the_parameter() {
    for raw in ["name=%", "name=%4", "name=%zz", "name=%ff", "name[]=%C3", "name=%u00e9", "name=%+1"] {
        assert_eq!(parse(raw), Err(QueryError::NotText { parameter: Some("name") }), "{raw}");
    }
    assert_eq!(parse("%zz=1"), Err(QueryError::NotText { parameter: None }));
    assert_eq!(ProductQuery::parse(b"code=\xff", &LIMITS), Err(QueryError::NotText { parameter: Some("code") }));
}

#[test]
fn limit_and_page_are_lists_of_one_number() {
    for raw in ["limit=03", "limit=['3']", "limit=%5B3%5D"] {
        assert_eq!(parse(raw).unwrap().limit, Some(3), "{raw}");
    }
    for raw in ["limit=", "limit[]=", "limit", "limit[0]="] {
        assert_eq!(parse(raw).unwrap().limit, None, "{raw}");
    }
    for raw in ["limit=%D9%A3", "limit=3 ", "limit=3&limit=3", "limit[]=[3]"] {
        assert_eq!(parse(raw), Err(QueryError::NotAWholeNumber { parameter: "limit" }), "{raw}");
    }
    assert_eq!(parse("limit=[5]&page=[3]").unwrap().window(), (15, 5));
    assert_eq!(parse("limit=0").unwrap().window(), (0, 0));
    assert_eq!(parse("page=1").unwrap().window(), (0, 0));
    assert_eq!(parse("page=0").unwrap().window(), (0, u64::MAX));
    assert_eq!(parse(&format!("limit={0}&page={0}", u64::MAX)).unwrap().window(), (u64::MAX, u64::MAX));
}

#[test]
fn a_query_over_a_limit_is_refused() {
    let limits = QueryLimits { query_bytes: 30, values: 2, value_characters: 3 };
    let parse = |raw: &str| ProductQuery::parse(raw.as_bytes(), &limits);
    assert!(parse("name=a,b&code=éèê").is_ok());
    assert_eq!(parse("name=a,b,c"), Err(QueryError::TooManyValues { parameter: "name", max: 2 }));
    assert_eq!(parse("code=abcd"), Err(QueryError::ValueTooLong { parameter: "code", max: 3 }));
    assert_eq!(parse(&"x".repeat(31)), Err(QueryError::TooLong { max: 30 }));
}

/// Encodes as PHP's urlencode, Python's quote_plus, Go's QueryEscape and Java's URLEncoder do; they differ in the
/// characters that they leave raw.
fn form_encode(text: &str, raw: &str, space: &str) -> String {
    text.chars()
        .map(|c| match c {
            ' ' => space.to_owned(),
            c if c.is_ascii_alphanumeric() || raw.contains(c) => c.to_string(),
            c => c.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect(),
        })
        .collect()
}

fn axios_encode(text: &str) -> String {
    form_encode(text, "-_.!~*'():$,[]", "+")
}

fn uri_component(text: &str) -> String {
    form_encode(text, "-_.!~*'()", "%20")
}

fn each(values: &[String], write: impl Fn(usize, &str) -> String) -> String {
    values.iter().enumerate().map(|(index, value)| write(index, value)).collect::<Vec<_>>().join("&")
}

/// Returns every unambiguous spelling of the list for the key, with the client that writes it.
fn spellings(key: &str, values: &[String]) -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("PHP http_build_query", each(values, |i, v| format!("{key}%5B{i}%5D={}", form_encode(v, "-_.", "+")))),
        ("PHP RFC 3986", each(values, |i, v| format!("{key}%5B{i}%5D={}", form_encode(v, "-_.~", "%20")))),
        ("PHP with gaps", each(values, |i, v| format!("{key}[{}]={}", i * 7 + 3, form_encode(v, "-_.", "+")))),
        ("PHP by hand", each(values, |_, v| format!("{key}[]={}", form_encode(v, "-_.", "+")))),
        ("axios 1.x", each(values, |_, v| format!("{key}[]={}", axios_encode(v)))),
        ("axios indexes", each(values, |i, v| format!("{key}[{i}]={}", axios_encode(v)))),
        ("Rails to_query", each(values, |_, v| format!("{key}%5b%5d={}", form_encode(v, "-_.*", "+")))),
        ("raw but for the delimiters", each(values, |_, v| format!("{key}[]={}", raw_but_delimiters(v)))),
        ("Zope", each(values, |_, v| format!("{key}:list={}", form_encode(v, "", "+")))),
        ("JSON", format!("{key}={}", uri_component(&serde_json::to_string(values).unwrap()))),
        ("JSON, raw brackets", format!("{key}={}", raw_but_delimiters(&serde_json::to_string(values).unwrap()))),
    ];
    if values.len() > 1 {
        all.push(("axios repeat", each(values, |_, v| format!("{key}={}", axios_encode(v)))));
        all.push(("Python requests", each(values, |_, v| format!("{key}={}", form_encode(v, "-_.~", "+")))));
        all.push(("Go url.Values", each(values, |_, v| format!("{key}={}", form_encode(v, "-_.~", "+")))));
        all.push(("Java URLEncoder", each(values, |_, v| format!("{key}={}", form_encode(v, "-_.*", "+")))));
        all.push(("URLSearchParams", each(values, |_, v| format!("{key}={}", form_encode(v, "-_.*", "+")))));
        let comma = values.iter().map(|v| uri_component(v)).collect::<Vec<_>>().join(",");
        let enclosed = values[0].starts_with('[') && values.last().unwrap().ends_with(']');
        if !enclosed && !values[1..].iter().any(|value| value.starts_with(' ')) {
            all.push(("commas", format!("{key}={comma}")));
        }
    }
    let plain = |value: &String| value.trim() == value && !value.contains([',', '"', '\'', '[', ']', '{']);
    if values.iter().all(plain) {
        all.push((
            "bare list",
            format!("{key}=[{}]", values.iter().map(|v| raw_but_delimiters(v)).collect::<Vec<_>>().join(",")),
        ));
        all.push(("bare list, encoded", format!("{key}={}", uri_component(&format!("[{}]", values.join(", "))))));
    }
    all
}

/// Encodes only the characters that a query cannot hold raw.
fn raw_but_delimiters(text: &str) -> String {
    text.replace('%', "%25").replace('&', "%26").replace('+', "%2B").replace('#', "%23")
}

fn values() -> impl Strategy<Value = Vec<String>> {
    let value = prop_oneof![
        3 => "[a-zA-Z0-9 .,-]{1,12}",
        2 => "null|true|false|-?[0-9]{1,3}(\\.[0-9]{1,2})?(e[0-9])?",
        3 => "[%_\\\\\"'\\[\\],;+&=#éßΣ☃ a]{1,8}",
        1 => any::<String>().prop_filter("no element is empty", |text| !text.is_empty()),
    ];
    proptest::collection::vec(value, 1..6)
}

proptest! {
    #[test]
    fn every_unambiguous_spelling_reads_back(names in values(), codes in values(), categories in values(), limit: u64, page: u64) {
        let numbers = [limit.to_string(), page.to_string()];
        let expected = ProductQuery { names, codes, categories, limit: Some(limit), page };
        let lists = [
            spellings("name", &expected.names), spellings("code", &expected.codes), spellings("category", &expected.categories),
            spellings("limit", &numbers[..1]), spellings("page", &numbers[1..]),
        ];
        for list in &lists {
            for (client, spelling) in list {
                let rest = lists.iter().filter(|other| !std::ptr::eq(*other, list)).map(|other| &other[0].1);
                let query = rest.chain([spelling]).map(String::as_str).collect::<Vec<_>>().join("&");
                let read = parse(&query);
                prop_assert_eq!(read.as_ref(), Ok(&expected), "{}: {}", client, query);
            }
        }
    }

    /// Model: with at least one string the list is JSON, where null is dropped; without a string every element is text.
    #[test]
    fn a_json_list_of_scalars_reads_as_the_rule_says(
        elements in proptest::collection::vec(prop_oneof![
            Just(("null".to_owned(), None)),
            "true|false|0|-?[1-9][0-9]{0,2}(\\.[0-9]{1,2})?(e[0-9])?".prop_map(|text| (text.clone(), Some(text))),
            "[a-z, \\[\"]{1,5}".prop_map(|text| (serde_json::to_string(&text).unwrap(), Some(text))),
        ], 1..5),
        separator in proptest::sample::select(vec![",", ", ", " ,"]),
    ) {
        let texts: Vec<String> = elements.iter().map(|(text, _)| text.clone()).collect();
        let is_json = texts.iter().any(|text| text.starts_with('"'));
        let expected: Vec<String> = if is_json {
            elements.into_iter().filter_map(|(_, value)| value).collect()
        } else {
            texts.clone()
        };
        prop_assert_eq!(names(&format!("name={}", uri_component(&format!("[{}]", texts.join(separator))))), expected);
    }

    #[test]
    fn no_bytes_panic(raw: Vec<u8>) {
        let _ = ProductQuery::parse(&raw, &LIMITS);
    }

    #[test]
    fn no_query_of_delimiters_panics(raw in "((name|code|limit|page|x)?(\\[[0-9]{0,2}\\]|:list|%5B)?=?[\\[\\]\"',%+& 0-9aé\\\\]{0,6}&?){0,5}") {
        if let Ok(query) = parse(&raw) {
            prop_assert!(query.names.iter().chain(&query.codes).all(|value| !value.is_empty()));
        }
    }
}
