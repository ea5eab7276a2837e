//! How a clinic's client library writes the array parameters of `/products` (SPSI.md 4): all the common ways.

use serde_json::json;

use super::form;

/// How a client library writes an array into a query (SPSI.md 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ArrayStyle {
    /// `name=[a,b]`, as in the reference.
    #[default]
    Documented,
    /// `name=%5Ba%2Cb%5D`.
    DocumentedEscaped,
    /// `name=["a","b"]`, escaped.
    Json,
    /// `name[]=a&name[]=b`.
    Brackets,
    /// `name%5B%5D=a&name%5B%5D=b`.
    BracketsEscaped,
    /// `name[0]=a&name[1]=b`.
    Indexed,
    /// `name=a&name=b`.
    Repeated,
    /// `name=a,b`.
    Commas,
}

impl ArrayStyle {
    /// Every style.
    pub const ALL: [Self; 8] = [
        Self::Documented,
        Self::DocumentedEscaped,
        Self::Json,
        Self::Brackets,
        Self::BracketsEscaped,
        Self::Indexed,
        Self::Repeated,
        Self::Commas,
    ];

    /// The query pairs of one parameter.
    pub fn write(self, name: &str, values: &[String]) -> Vec<String> {
        let each = || values.iter().map(|value| form::encode(value));
        match self {
            Self::Documented => vec![format!("{name}=[{}]", each().collect::<Vec<_>>().join(","))],
            Self::DocumentedEscaped => vec![format!("{name}={}", form::encode(&format!("[{}]", values.join(","))))],
            Self::Json => vec![format!("{name}={}", form::encode(&json!(values).to_string()))],
            Self::Brackets => each().map(|value| format!("{name}[]={value}")).collect(),
            Self::BracketsEscaped => each().map(|value| format!("{name}%5B%5D={value}")).collect(),
            Self::Indexed => each().enumerate().map(|(index, value)| format!("{name}[{index}]={value}")).collect(),
            Self::Repeated => each().map(|value| format!("{name}={value}")).collect(),
            Self::Commas => vec![format!("{name}={}", each().collect::<Vec<_>>().join(","))],
        }
    }
}

/// A search in a partner's catalogue; empty lists are left out.
#[derive(Clone, Debug, Default)]
pub struct ProductQuery {
    /// Any of these in the name.
    pub name: Vec<String>,
    /// Any of these in the code.
    pub code: Vec<String>,
    /// Any of these in the category.
    pub category: Vec<String>,
    /// How arrays are written.
    pub style: ArrayStyle,
}

impl ProductQuery {
    /// The raw query text.
    pub(super) fn write(&self, limit: Option<usize>, page: Option<usize>) -> String {
        let numbers = |number: Option<usize>| number.map(|number| number.to_string()).into_iter().collect::<Vec<_>>();
        let parameters = [
            ("name", self.name.clone()),
            ("code", self.code.clone()),
            ("category", self.category.clone()),
            ("limit", numbers(limit)),
            ("page", numbers(page)),
        ];
        parameters
            .iter()
            .filter(|(_, values)| !values.is_empty())
            .flat_map(|(name, values)| self.style.write(name, values))
            .collect::<Vec<_>>()
            .join("&")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_written_in_every_style() {
        let values = ["2m bandage".to_owned(), "a&b".to_owned()];
        let written = ArrayStyle::ALL.map(|style| style.write("name", &values).join("&"));
        assert_eq!(
            written,
            [
                "name=[2m%20bandage,a%26b]",
                "name=%5B2m%20bandage%2Ca%26b%5D",
                "name=%5B%222m%20bandage%22%2C%22a%26b%22%5D",
                "name[]=2m%20bandage&name[]=a%26b",
                "name%5B%5D=2m%20bandage&name%5B%5D=a%26b",
                "name[0]=2m%20bandage&name[1]=a%26b",
                "name=2m%20bandage&name=a%26b",
                "name=2m%20bandage,a%26b",
            ]
        );
    }

    #[test]
    fn a_query_leaves_out_what_is_empty() {
        let query = ProductQuery { code: vec!["BND".into()], ..ProductQuery::default() };
        assert_eq!(query.write(Some(5), Some(0)), "code=[BND]&limit=[5]&page=[0]");
        assert_eq!(ProductQuery::default().write(None, None), "");
    }
}
