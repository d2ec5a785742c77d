//! How a definition follows earlier ones: the records that are in the log are read by all of them.

use super::{
    Definition, Fault,
    fields::{Field, OnLong, SOURCE},
};

impl Definition {
    /// What keeps `other` from taking the place of this definition, or of one after it: every mistake.
    pub fn faults_of_successor(&self, other: &Self) -> Vec<Fault> {
        let fault = |field: String, code, detail| Fault { field, code, detail, line: None };
        let mut faults = Vec::new();
        if self.key != other.key {
            let detail = format!("records are known by {}: another key needs another collection", self.key);
            faults.push(fault("key".to_owned(), "key-changed", detail));
        }
        for (name, field) in &other.fields {
            let Some(before) = self.field(name.as_str()) else { continue };
            if before.kind != field.kind {
                let (before, now) = (before.kind.name(), field.kind.name());
                let detail = format!("records hold {name} as {before}: add another field of type {now} instead");
                faults.push(fault(format!("fields.{name}.type"), "type-changed", detail));
            }
        }
        let bounds = (self.field(SOURCE), other.field(SOURCE).and_then(Field::indexed_max));
        if let (Some(before), Some(bound)) = bounds
            && before.max_length.is_none_or(|max| max > bound)
        {
            let detail =
                format!("records may hold a {SOURCE} that is longer than {bound}, as an earlier definition allows");
            faults.push(fault(format!("fields.{SOURCE}.max_length"), "bound-lowered", detail));
        }
        faults
    }

    /// The definition that records are read by while the live generation was built with `live` and this one is newer: it has
    /// the fields of both, and accepts nothing that the live generation could not store.
    #[must_use]
    pub fn beside(&self, live: &Self) -> Self {
        let mut both = self.clone();
        for (name, field) in &live.fields {
            let field = Field { required: false, ..field.clone() };
            both.fields.entry(name.clone()).or_insert(field);
        }
        let bound = live.field(SOURCE).and_then(Field::indexed_max);
        let source = both.fields.iter_mut().find(|(name, _)| name.as_str() == SOURCE);
        if let (Some(bound), Some((_, source))) = (bound, source)
            && source.max_length.is_none_or(|max| max > bound)
        {
            // To cut it would change what the newer one holds.
            (source.max_length, source.on_long) = (Some(bound), Some(OnLong::Reject));
        }
        both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(fields: &str) -> Definition {
        let text = format!("collection = 'c'\nkey = 'id'\n[fields]\nid = 'text'\n{fields}");
        Definition::parse(&text).unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    fn codes(before: &str, after: &str) -> Vec<&'static str> {
        definition(before).faults_of_successor(&definition(after)).iter().map(|fault| fault.code).collect()
    }

    #[test]
    fn a_successor_reads_every_record_of_an_earlier_definition() {
        let none: [&str; 0] = [];
        assert_eq!(codes("width = 'int'", "width = 'int'\nheight = 'int'"), none);
        assert_eq!(codes("width = 'int'", ""), none);
        assert_eq!(codes("width = 'int'", "width = 'long'"), ["type-changed"]);
        let source = |max: u32| format!("source = {{ type = 'text', max_length = {max} }}");
        assert_eq!(codes(&source(80), &source(120)), none);
        assert_eq!(codes(&source(80), &source(79)), ["bound-lowered"]);
        assert_eq!(codes("source = 'text'", &source(80)), ["bound-lowered"]);
        assert_eq!(codes("source = 'text'", &source(300)), none, "sources of that length have no index");
        assert_eq!(codes(&source(80), "source = 'text'"), none);
    }

    #[test]
    fn records_are_read_by_the_fields_of_both_definitions() {
        let live = definition("width = { type = 'int', required = true }\nsource = { type = 'text', max_length = 80 }");
        let both = definition("height = 'int'\nsource = { type = 'text', max_length = 120 }").beside(&live);
        let names: Vec<&str> = both.fields.keys().map(|name| name.as_str()).collect();
        assert_eq!(names, ["height", "id", "source", "width"]);
        assert_eq!(both.field("width").map(|field| field.required), Some(false));
        assert_eq!(both.field("source").and_then(|field| field.max_length), Some(80));
    }
}
