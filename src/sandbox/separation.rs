//! The parts of an ezyVet site: its database, businesses and stock locations (SPSI.md 2, `GET /v2/separation`).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{LONG_AGO, clock::Chance};

/// One part of the site.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Separation {
    /// The id in orders and invoices.
    pub id: u64,
    /// The id in the inventory API.
    pub uid: String,
    /// Display name.
    pub name: String,
    /// `Database`, `Business` or `Location`.
    pub kind: String,
    /// Id of the separation above.
    pub parent: Option<u64>,
}

impl Separation {
    /// Returns the JSON of `GET /v2/separation`; `all` are the separations among which the children are found.
    pub(super) fn as_item(&self, all: &[Self]) -> Value {
        let children = all.iter().filter(|other| other.parent == Some(self.id));
        let children: Vec<_> = children.map(|child| child.id).collect();
        json!({"id": self.id, "uid": self.uid, "name": self.name, "type": self.kind, "parent": self.parent, "child": children,
            "separation_type": self.kind.to_lowercase(), "contact_id": self.id + 500, "contact_uid": format!("contact_{}", self.id + 500),
            "active": 1, "created_at": LONG_AGO, "modified_at": LONG_AGO})
    }
}

/// Returns the stock location with this id.
pub(super) fn location(separations: &[Separation], id: u64) -> Option<&Separation> {
    separations.iter().find(|part| part.id == id && part.kind == "Location")
}

/// Returns the stock location with this uid.
pub(super) fn location_by_uid<'a>(separations: &'a [Separation], uid: &str) -> Option<&'a Separation> {
    separations.iter().find(|part| part.uid == uid && part.kind == "Location")
}

/// Returns the demo site: one database, one business, two stock locations.
pub(super) fn demo_site(chance: &mut Chance) -> Vec<Separation> {
    [
        (1, "Harbour Database", "Database", None),
        (2, "Harbour Veterinary Group", "Business", Some(1)),
        (3, "Main Hospital Pharmacy", "Location", Some(2)),
        (4, "North Street Store", "Location", Some(2)),
    ]
    .map(|(id, name, kind, parent)| Separation {
        id,
        uid: format!("ownershipSeparation_{}", chance.letters(22)),
        name: name.into(),
        kind: kind.into(),
        parent,
    })
    .into()
}
