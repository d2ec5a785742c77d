//! What a search must find, by a model that knows nothing of indexes: a list of documents, in which children carry what they
//! inherit. Also documents and queries at random.

use std::{collections::BTreeMap, sync::Arc};

use daybook_metaflow::projection::Metaflow;
use daybook_projector::search::{
    document::{Document, id_of},
    query::Expression,
    request::{Counts, Request, SortValue},
    shape::{Field, FieldId, FieldShape, Filter, IndexShape, Inheritance, Storage},
    source::Documents,
    words::{canonical::comparable, english::English, words},
};
use daybook_tests::random::Random;
use serde_json::{Value, json};

/// When documents were registered, from this on.
pub(crate) const BASE: i64 = 1_700_000_000_000;

const TAGS: [&str; 8] =
    ["team:ml-ops", "exp.42", "nightly", "user:ann", "a multi, word tag!", "日本", "---", "Team:ML"];
const USERS: [Option<&str>; 4] = [None, Some("ann"), Some("Bob Smith"), Some("carl@x.org")];
const WORDS: [&str; 20] = [
    "trains",
    "model's",
    "modelling",
    "losses",
    "train",
    "TRAIN",
    "etl",
    "ml",
    "ops",
    "team",
    "exp",
    "42",
    "nightly",
    "ann",
    "bob",
    "multi",
    "tag",
    "école",
    "日本",
    "a50",
];

/// Shelves with books, which have their shelf's genres: a shape that no domain of Daybook has.
fn library() -> IndexShape {
    IndexShape {
        version: 1,
        fields: vec![
            FieldShape::text("sort_of")
                .own_words()
                .facet()
                .filter(Filter::AnyOf)
                .sort()
                .allowed(&["shelf", "book", "note"]),
            FieldShape::text("title").words().phrases().stems(),
            FieldShape::text("author").of(&["author", "editor"]).words().facet().filter(Filter::AnyOf).sort(),
            FieldShape::text("genre").of(&["genres"]).words().facet().filter(Filter::AllOf),
            FieldShape::text("quotes").words().phrases().stems().hidden(),
            FieldShape::integer("pages").words().sort(),
            FieldShape::integer("added").sort(),
        ],
        type_field: FieldId(0),
        time_field: FieldId(6),
        path: vec![("books".into(), "title".into())],
        inheritance: Some(Inheritance {
            field: FieldId(3),
            parent: "shelf".into(),
            children: vec!["book".into()],
            attribute: "shelf_genres".into(),
            shown: "genres".into(),
            common: Vec::new(),
        }),
        stemming: Some(English { overrides: vec![("trains".into(), "train".into())], overrides_see_case: true }),
        rank: Some(FieldId(5)),
        storage: Storage::default(),
        literal: None,
        has_hidden: false,
    }
}

/// The shapes that are tested: Metaflow's, a made-up one, and that without what documents inherit.
pub(crate) fn shapes() -> [(&'static str, Arc<IndexShape>); 3] {
    let storage = Storage { shards: 3, ..Storage::default() };
    let alone = IndexShape { inheritance: None, storage, ..library() };
    [("metaflow", Metaflow.shape()), ("library", Arc::new(library())), ("alone", Arc::new(alone))]
}

/// Documents of a shape as they are written, by id.
pub(crate) struct World {
    pub(crate) shape: Arc<IndexShape>,
    pub(crate) documents: BTreeMap<String, Document>,
}

fn some(random: &mut Random, one_in: usize) -> Vec<&'static str> {
    TAGS.into_iter().filter(|_| random.one_in(one_in)).collect()
}

impl World {
    pub(crate) fn new(shape: Arc<IndexShape>) -> Self {
        Self { shape, documents: BTreeMap::new() }
    }

    /// Takes a batch of documents, each parent before its children, and returns it.
    pub(crate) fn grow(&mut self, random: &mut Random, first: i64) -> Vec<Document> {
        let mut batch = Vec::new();
        for number in first..first + 15 {
            batch.extend(self.family(random, number));
        }
        self.documents.extend(batch.iter().map(|document| (document.id.clone(), document.clone())));
        batch
    }

    /// Gives some parents other values for their children to inherit, and returns these parents alone.
    pub(crate) fn change_parents(&mut self, random: &mut Random) -> Vec<Document> {
        let Some(inheritance) = self.shape.inheritance.clone() else { return Vec::new() };
        let is_parent = |document: &&mut Document| self.shape.type_of(document) == Some(&*inheritance.parent);
        let mut changed = Vec::new();
        for parent in self.documents.values_mut().filter(is_parent) {
            if random.one_in(2) {
                parent.revision += 1;
                let tags = some(random, 4);
                set_inherited(&inheritance, parent, &tags);
                changed.push(parent.clone());
            }
        }
        changed
    }

    /// A parent with its children, and a document that is neither.
    fn family(&self, random: &mut Random, number: i64) -> Vec<Document> {
        let is_metaflow = self.shape.find("flow", |_| true).is_some();
        let (parent, kinds, other) =
            if is_metaflow { ("run", ["step", "task", "artifact"], "flow") } else { ("shelf", ["book"; 3], "note") };
        // Alike in a family, also when it is written over.
        let heads = ["Train", "train_v2", "Etl.Daily", "ÉcoleFlow"];
        let head = heads[usize::try_from(number).unwrap_or(0) % heads.len()];
        let id = id_of([parent, &number.to_string()]);
        let document = |random: &mut Random, kind: &str, id: &str| {
            let mut document = Document::new(id.to_owned(), 1);
            let (kind_name, time, title, user, tags) = if is_metaflow {
                ("type", "created_at", "flow", "user", "tags")
            } else {
                ("sort_of", "added", "title", "author", "genres")
            };
            document.set(kind_name, kind);
            document.set(time, BASE + random.below(40) as i64 * 1000);
            document.set(title, head);
            document.set(user, random.pick(&USERS));
            // What never changes stands on a parent and on its children.
            document.set(tags, json!(["fixed:one", format!("fixed:{}", number % 3)]));
            document.set(if is_metaflow { "run" } else { "pages" }, number);
            document
        };
        let mut family = vec![document(random, parent, &id)];
        if let Some(inheritance) = &self.shape.inheritance {
            let tags = some(random, 4);
            set_inherited(inheritance, &mut family[0], &tags);
        } else {
            family[0].set("genres", json!(some(random, 3)));
        }
        for (index, kind) in kinds.into_iter().enumerate().cycle().take(random.below(8)) {
            let mut child = document(random, kind, &format!("{kind}/{number}/{}", family.len()));
            child.parent = self.shape.inheritance.is_some().then(|| id.clone());
            if is_metaflow {
                child.set("step", "start");
                child.set("task", (index > 0).then_some(number));
                child.set("status", random.pick(&[None, Some("running"), Some("failed")]));
                child.set("metadata", json!([{"field": "gpu-type", "value": format!("A{}", random.below(3) * 50)}]));
                child.set("artifacts", json!(["model", "loss_curve"]));
            } else {
                child.set("quotes", json!([format!("gpu type A{}", random.below(3) * 50), "a model of loss"]));
            }
            family.push(child);
        }
        if random.one_in(3) {
            let mut apart = document(random, other, &format!("{other}/{number}"));
            apart.set(if is_metaflow { "tags" } else { "genres" }, json!(some(random, 3)));
            family.push(apart);
        }
        family
    }

    /// The documents as they were if children carried what they inherit.
    pub(crate) fn carried(&self) -> BTreeMap<String, Document> {
        let Some(inheritance) = &self.shape.inheritance else { return self.documents.clone() };
        let carry = |document: &Document| {
            let parent = document.parent.as_ref().and_then(|parent| self.documents.get(parent));
            let mut document = document.clone();
            if let Some(value) = parent.and_then(|parent| parent.source.get(&*inheritance.shown)) {
                document.set(&inheritance.shown, value.clone());
            }
            document
        };
        self.documents.iter().map(|(id, document)| (id.clone(), carry(document))).collect()
    }
}

/// Gives a parent values of its own beside those that never change.
fn set_inherited(inheritance: &Inheritance, parent: &mut Document, values: &[&str]) {
    let known = parent.source.get(&*inheritance.shown).and_then(Value::as_array).cloned().unwrap_or_default();
    let fixed = known.into_iter().filter(|value| value.as_str().is_some_and(|text| text.starts_with("fixed:")));
    let all: Vec<Value> = values.iter().map(|value| json!(value)).chain(fixed).collect();
    parent.set(&inheritance.shown, all);
    parent.source.remove(&*inheritance.attribute);
    parent.set(&inheritance.attribute, json!(values));
}

/// Whether a document matches, by the meaning of expressions alone.
pub(crate) fn matches(shape: &IndexShape, document: &Document, query: &Expression) -> bool {
    let terms_in = |field: Field| -> Vec<Vec<String>> {
        let of_value = |text: &str| match (field, &shape.stemming) {
            (Field::Stems(_), Some(english)) => english.stems(text),
            _ => words(text).map(|word| word.term).collect(),
        };
        shape.values(document, field).iter().map(|text| of_value(text)).collect()
    };
    match query {
        Expression::Nothing => false,
        Expression::All(parts) => parts.iter().all(|part| matches(shape, document, part)),
        Expression::Any(parts) => parts.iter().any(|part| matches(shape, document, part)),
        Expression::Not(inner) => !matches(shape, document, inner),
        Expression::Value { field, one_of } => {
            let form =
                |text: &str| if shape.is_composed(*field) { comparable(text).into_owned() } else { text.to_owned() };
            let wanted: Vec<String> = one_of.iter().map(|value| form(value)).collect();
            shape.values(document, *field).iter().any(|value| wanted.contains(&form(value)))
        }
        Expression::Time { from, to } => {
            let at = shape.number(document, shape.time_field);
            from.is_none_or(|from| at >= from) && to.is_none_or(|to| at < to)
        }
        Expression::Words { field, terms, prefix: false } => {
            terms_in(*field).iter().any(|value| value.windows(terms.len()).any(|window| window == terms))
        }
        Expression::Words { field, terms, prefix: true } => {
            let (last, before) = terms.split_last().unwrap_or_else(|| panic!("no terms"));
            let begins = terms_in(*field).iter().flatten().any(|term| term.starts_with(last));
            let before = Expression::Words { field: *field, terms: before.to_vec(), prefix: false };
            begins && (terms.len() == 1 || matches(shape, document, &before))
        }
    }
}

/// What the model finds: ids in order, and facets.
pub(crate) fn expected(
    shape: &IndexShape,
    documents: &BTreeMap<String, Document>,
    request: &Request,
) -> (Vec<String>, Vec<Counts>) {
    let holds = |document: &Document| {
        request.filter.iter().chain(&request.query).all(|condition| matches(shape, document, condition))
    };
    let mut found: Vec<&Document> = documents.values().filter(|document| holds(document)).collect();
    found.sort_by_cached_key(|document| document.key());
    if let Some(field) = request.sort.field {
        found.sort_by(|a, b| {
            let by_value = SortValue::of(shape, a, field).cmp(&SortValue::of(shape, b, field));
            if request.sort.descending { by_value.reverse() } else { by_value }
        });
    }
    let facets = request.facets.iter().map(|facet| {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let takes = facet.takes();
        for value in found.iter().flat_map(|document| shape.whole(document, facet.field)) {
            if takes(&value) {
                *counts.entry(value.into_owned()).or_default() += 1;
            }
        }
        let mut counts: Counts = counts.into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts.truncate(facet.values_max);
        counts
    });
    let facets = facets.collect();
    (found.into_iter().map(|document| document.id.clone()).collect(), facets)
}

/// A query at random, over the fields of a shape.
pub(crate) fn query(random: &mut Random, shape: &IndexShape, depth: usize) -> String {
    let word = random.pick(&WORDS);
    let part = match random.below(if depth == 0 { 5 } else { 9 }) {
        0 => word.to_owned(),
        1 => format!("{}*", &word[..word.ceil_char_boundary(1 + random.below(3))]),
        2 => random
            .pick(&["team:ml-ops", "ml-o*", "exp.4*", "team:m*", "\"word tag\"", "\"tag multi\"", "---"])
            .to_owned(),
        3 | 4 => {
            let named: Vec<&FieldShape> = shape.fields.iter().filter(|field| field.words.is_some()).collect();
            let inherited = shape.inheritance.as_ref().map(|inheritance| shape.field(inheritance.field));
            let field = inherited.filter(|_| random.one_in(2)).unwrap_or_else(|| named[random.below(named.len())]);
            let text = random.pick(&[
                "ml",
                "team:ml-ops",
                "exp*",
                "\"word tag\"",
                "nightly",
                "42",
                "failed",
                "train",
                "ml-o*",
            ]);
            format!("{}:{text}", field.name)
        }
        5 => format!("-{}", query(random, shape, 0)),
        6 => format!("-({})", query(random, shape, depth - 1)),
        7 => format!("({} OR {})", query(random, shape, depth - 1), query(random, shape, depth - 1)),
        _ => format!("({} {})", query(random, shape, depth - 1), query(random, shape, depth - 1)),
    };
    if depth > 0 && random.one_in(3) { format!("{part} {}", query(random, shape, depth - 1)) } else { part }
}

/// A filter at random.
pub(crate) fn filter(random: &mut Random, shape: &IndexShape) -> Vec<Expression> {
    let mut filter = Vec::new();
    for (id, field) in shape.all().filter(|(_, field)| field.filter.is_some()) {
        if !random.one_in(4) {
            continue;
        }
        let known: Vec<String> = field.allowed.iter().map(|value| value.to_string()).collect();
        let others = ["ann", "Bob Smith", "Train", "nightly", "team:ml-ops", "exp.42", "fixed:one", "fixed:2"];
        let value = |random: &mut Random| match known.is_empty() {
            true => random.pick(&others).to_owned(),
            false => known[random.below(known.len())].clone(),
        };
        match field.filter {
            Some(Filter::AllOf) => {
                for _ in 0..1 + random.below(2) {
                    let value = random.pick(&others[3..]);
                    filter.push(Expression::value(Field::Named(id), [value]));
                }
            }
            _ => {
                let values = [value(random), value(random)];
                filter.push(Expression::value(Field::Named(id), values));
            }
        }
    }
    if random.one_in(4) {
        let at = BASE + random.below(40) as i64 * 1000;
        filter.push(match random.below(3) {
            0 => Expression::Time { from: Some(at), to: None },
            1 => Expression::Time { from: None, to: Some(at) },
            _ => Expression::Time { from: Some(at), to: Some(at + 15_000) },
        });
    }
    filter
}
