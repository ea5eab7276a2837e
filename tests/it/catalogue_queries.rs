//! The query parameters of `GET /products` (SPSI.md 4): array notations, search terms, limit and page.

use crate::catalogue::VISIBLE;
use crate::support::supplier::Supplier;
use std::io::{Read, Write};

#[test]
fn query_arrays_are_read_in_every_common_notation() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    let both = ["BND", "BND-1"].map(str::to_owned).to_vec();
    for query in [
        // As documented, plain and percent-encoded; JSON; PHP; Ruby; Python; Go; comma-separated; Zope.
        "name=[2m-bandage,1m-bandage]",
        "name=%5B2m-bandage%2C1m-bandage%5D",
        "name=%5b2m-bandage%2c1m-bandage%5d",
        "name=[%222m-bandage%22,%221m-bandage%22]",
        "name=%5B%222m-bandage%22%2C%221m-bandage%22%5D",
        "name=['2m-bandage','1m-bandage']",
        "name=[2m-bandage,%201m-bandage]",
        "name[]=2m-bandage&name[]=1m-bandage",
        "name%5B%5D=2m-bandage&name%5B%5D=1m-bandage",
        "name[0]=2m-bandage&name[1]=1m-bandage",
        "name[0]=2m-bandage&name[7]=1m-bandage",
        "name%5B0%5D=2m-bandage&name%5B1%5D=1m-bandage",
        "name=2m-bandage&name=1m-bandage",
        "name=2m-bandage,1m-bandage",
        "name=2m-bandage%2C1m-bandage",
        "name:list=2m-bandage&name:list=1m-bandage",
        "name=bandage",
        "name=BANDAGE",
        "name=[BanDage]",
        "name=bandage&name=",
        "name[]=bandage&name[]=",
        "code=bnd",
        "code=[BND]",
        "code=BND&name=bandage&category=[consumable]&unknown=7&name%5Bx%5D=1",
        "&&name=bandage&",
    ] {
        assert_eq!(supplier.codes(&clinic, format!("/products?{query}")), both, "{query}");
    }
    for query in
        ["name=", "name=[]", "name[]=", "name", "code=%5B%5D&category=", "", "limit=&page=", "limit=[]&page=[0]"]
    {
        assert_eq!(supplier.codes(&clinic, format!("/products?{query}")), VISIBLE, "no filter: {query}");
    }
}

#[test]
fn searches_find_names_with_punctuation_and_accented_letters() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    for (query, code) in [
        ("name=STERILE%20WATER,%20USP", "WATER"),
        ("name=STERILE+WATER%2C+USP", "WATER"),
        ("name[]=STERILE+WATER,+USP", "WATER"),
        ("name=[%22STERILE+WATER,+USP%22]", "WATER"),
        ("category=FLUIDS%2C+IV", "WATER"),
        ("name=caf%C3%A9", "CAFE"),
        ("name=CAF%C3%89", "CAFE"),
        ("name=gr%C3%B6%C3%9Fe", "CAFE"),
        ("name[]=[brackets]", "[X]"),
        ("name[]=%5Bbrackets%5D+%22quotes%22", "[X]"),
        ("code[]=[X]", "[X]"),
    ] {
        assert_eq!(supplier.codes(&clinic, format!("/products?{query}")), [code], "{query}");
    }
    for query in ["name=;", "name=|", "name={}", "name=50%25", "name=nothing-like-it", "name='%20or%201=1--"] {
        assert_eq!(supplier.codes(&clinic, format!("/products?{query}")), Vec::<String>::new(), "{query}");
    }
}

#[test]
fn a_query_that_is_not_percent_encoded_is_understood() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    for (query, codes) in [
        ("name=café", &["CAFE"][..]),
        ("name=[CAFÉ]", &["CAFE"]),
        ("category[]=diät", &["CAFE"]),
        ("name=[\"2m-bandage\",\"1m-bandage\"]", &["BND", "BND-1"]),
        ("name=[\"STERILE+WATER,+USP\"]", &["WATER"]),
        ("name[]=[brackets]+\"quotes\"", &["[X]"]),
        ("limit=[\"2\"]&page=[\"0\"]", &["AMX", "BND"]),
        ("name=<b>", &[]),
        ("name=a|b{c}^`\\", &[]),
    ] {
        assert_eq!(supplier.codes(&clinic, format!("/products?{query}")), codes, "{query}");
    }
    // The second request on a connection, after a body that looks like a request.
    let order = format!("GET /products?name=é HTTP/1.1\r\n\r\n{}", "é".repeat(10));
    let post = supplier.request("POST", "/purchaseorder").bearer(&clinic.token).body(&order);
    let get = supplier.request("GET", "/products?name=café").bearer(&clinic.token);
    let mut stream = post.connect();
    let head = String::from_utf8(post.head()).expect("ASCII").replace("connection: close\r\n", "");
    stream.write_all(&[head.as_bytes(), order.as_bytes(), &get.head()].concat()).expect("both requests are sent");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).expect("two answers");
    assert!(answers.starts_with("HTTP/1.1 415") && answers.matches("HTTP/1.1 ").count() == 2, "{answers}");
    assert!(answers.contains("Café crème"), "{answers}");
}

#[test]
fn limit_and_page_select_a_part_of_the_list() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    for (query, range) in [
        ("limit=[3]", 0..3),
        ("limit=3", 0..3),
        ("limit[]=3", 0..3),
        ("limit=%5B3%5D&page=%5B1%5D", 3..6),
        ("limit=[%223%22]&page=[%221%22]", 3..6),
        ("limit[0]=3&page[0]=3", 9..11),
        ("limit=[3]&page=[4]", 0..0),
        ("limit=[100]", 0..11),
        ("limit=[0]", 0..0),
        ("page=[1]", 0..0),
        ("page=[0]", 0..11),
        ("limit=[18446744073709551615]&page=[18446744073709551615]", 0..0),
    ] {
        assert_eq!(supplier.codes(&clinic, format!("/products?{query}")), VISIBLE[range], "{query}");
    }
}

#[test]
fn reading_all_pages_gives_each_product_once() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    for limit in [1, 2, 5, 11, 12] {
        let mut read = Vec::new();
        for page in 0.. {
            let codes = supplier.codes(&clinic, format!("/products?limit=[{limit}]&page=[{page}]"));
            if codes.is_empty() {
                break;
            }
            read.extend(codes);
        }
        assert_eq!(read, VISIBLE, "limit {limit}");
    }
}

#[test]
fn an_invalid_limit_or_page_is_refused_and_named() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    for value in
        ["-1", "[-1]", "1.5", "x", "[1,2]", "1,2", "+1", "0x1", "1e3", "[[1]]", "%00", "99999999999999999999999"]
    {
        for parameter in ["limit", "page"] {
            let answer = supplier.get(&clinic, format!("/products?{parameter}={value}"));
            assert_eq!(answer.problem(400), [parameter], "{parameter}={value}");
        }
    }
    let twice = supplier.get(&clinic, "/products?limit=1&limit=2");
    assert_eq!(twice.problem(400), ["limit"]);
}

#[test]
fn a_query_that_is_not_utf_8_or_too_long_is_refused() {
    let supplier = Supplier::shared();
    let clinic = supplier.clinic();
    for query in [&b"name=%ff"[..], b"name=%zz", b"name=%", b"name=%C3", b"name=\xff\xfe", b"code[]=%E2%82"] {
        let answer = supplier.get(&clinic, [b"/products?", query].concat());
        assert_eq!(answer.status, 400, "{:?}: {}", String::from_utf8_lossy(query), answer.text());
    }
    let long = supplier.get(&clinic, format!("/products?name={}", "x".repeat(1_001)));
    assert_eq!(long.problem(400), ["name"]);
    let many = supplier.get(&clinic, format!("/products?{}", "code[]=a&".repeat(1_001)));
    assert_eq!(many.problem(400), ["code"]);
}
