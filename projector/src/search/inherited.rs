//! Searches over inherited values: parents are found first, then they and their children.
//!
//! A child matches a condition on the inherited field if it matches itself or if its parent does. So each such condition
//! is widened by the ids of the matching parents before an engine sees it. This also holds under negation, because only
//! the condition itself is widened. Counts by the inherited field are those of documents' own
//! values, plus those of each parent by the number of its children that match. Hits show what they inherit.
//!
//! What one search holds of parents is bounded. Where more match, the newest count, and the answer carries a warning.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    SearchError, SearchIndex,
    query::Expression,
    request::{Counts, Facet, Found, Hit, ParentsFound, ParentsRequest, Request},
    shape::{Field, IndexShape, Inheritance},
};

/// How much one search holds of parents, each inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Parents that one condition is widened by, and parents whose children are counted.
    pub parents_max: usize,
    /// Parents that all conditions of a search are widened by; each has an equal part of them.
    pub parents_of_all_max: usize,
    /// Different values of their own that documents are counted by, before those of their parents are added.
    pub own_values_max: usize,
}

impl Bounds {
    /// The bounds of searches. An answer of Elasticsearch has at most 65 536 buckets, and a list of terms as many: parents and
    /// own values together are fewer.
    pub const OF_SEARCHES: Self = Self { parents_max: 50_000, parents_of_all_max: 200_000, own_values_max: 10_000 };
}

/// What was found, and what a reader of it must know.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// What was found.
    pub found: Found,
    /// Where it is not exact, and why; empty for an exact answer.
    pub warnings: Vec<String>,
}

/// Searches an index, with what documents inherit.
pub async fn search(index: &dyn SearchIndex, request: Request) -> Result<Answer, SearchError> {
    search_within(index, request, Bounds::OF_SEARCHES).await
}

/// The same within other bounds.
pub async fn search_within(
    index: &dyn SearchIndex,
    mut request: Request,
    bounds: Bounds,
) -> Result<Answer, SearchError> {
    let shape = Arc::clone(index.shape());
    request.filter.extend(shape.visible());
    let inheritance = shape.inheritance.as_ref().filter(|it| may_find_children(&shape, it, &request));
    let Some(inheritance) = inheritance else {
        return Ok(Answer { found: index.search(request).await?, warnings: Vec::new() });
    };
    let mut search = Search { index, shape: &shape, inheritance, bounds, warnings: Vec::new() };
    let request = search.widen(request).await?;
    let mut found = search.count(request).await?;
    search.show_inherited(&mut found.hits).await?;
    Ok(Answer { found, warnings: search.warnings })
}

/// A search under way.
struct Search<'a> {
    index: &'a dyn SearchIndex,
    shape: &'a IndexShape,
    inheritance: &'a Inheritance,
    bounds: Bounds,
    warnings: Vec<String>,
}

impl Search<'_> {
    /// Widens each condition on the inherited field by the parents that match it.
    async fn widen(&mut self, request: Request) -> Result<Request, SearchError> {
        let inheritance = self.inheritance;
        let (query, filter) = (request.query.map(divide), request.filter);
        let mut wanted = Vec::new();
        query.iter().chain(&filter).for_each(|condition| collect(inheritance, condition, &mut wanted));
        if wanted.is_empty() {
            return Ok(Request { query, filter, ..request });
        }
        let is_common = |condition: &&Expression| match condition {
            Expression::Value { field: Field::Named(id), .. } => inheritance.common.contains(id),
            _ => false,
        };
        let common: Vec<Expression> = filter.iter().filter(is_common).cloned().collect();
        let parents_max = self.bounds.parents_max.min(self.bounds.parents_of_all_max / wanted.len()).max(1);
        let asked = wanted.iter().map(|condition| {
            let matching = Expression::All(common.iter().cloned().chain([condition.clone()]).collect());
            ParentsRequest { matching, parents_max, values: false }
        });
        let found = self.index.parents(asked.collect()).await?;
        let mut known: HashMap<Expression, Expression> = HashMap::new();
        for (condition, found) in wanted.into_iter().zip(found) {
            self.warn(&condition, &found);
            if !found.parents.is_empty() {
                let ids = found.parents.into_iter().map(|parent| parent.id);
                known.insert(condition, Expression::value(Field::Parent, ids));
            }
        }
        let widened = |condition: Expression| rewrite(inheritance, condition, &known);
        let (query, filter) = (query.map(widened), filter.into_iter().map(widened).collect());
        Ok(Request { query, filter, ..request })
    }

    /// Warns if more parents match than were looked at.
    fn warn(&mut self, condition: &Expression, found: &ParentsFound) {
        if found.parents.len() as u64 >= found.total {
            return;
        }
        let asked = match condition {
            Expression::Words { terms, prefix, .. } => format!("{}{}", terms.join(" "), if *prefix { "*" } else { "" }),
            Expression::Value { one_of, .. } => one_of.join(" or "),
            _ => String::new(),
        };
        let name = &self.shape.field(self.inheritance.field).name;
        let children = self.inheritance.children.join(", ");
        self.warnings.push(format!(
            "{} documents of type {} match {name} {asked:?}: of type {children}, only those of the newest {} are found by it",
            found.total,
            self.inheritance.parent,
            found.parents.len(),
        ));
    }

    /// Searches, and adds what documents inherit to the counts by the inherited field.
    async fn count(&mut self, mut request: Request) -> Result<Found, SearchError> {
        let (named, bounds) = (Field::Named(self.inheritance.field), self.bounds);
        let wanted: Vec<Facet> = request.facets.clone();
        let counted: Vec<usize> = (0..wanted.len()).filter(|index| wanted[*index].field == named).collect();
        if counted.is_empty() {
            return self.index.search(request).await;
        }
        for facet in request.facets.iter_mut().filter(|facet| facet.field == named) {
            facet.values_max = bounds.own_values_max;
        }
        request.facets.push(Facet { field: Field::Parent, prefix: String::new(), values_max: bounds.parents_max });
        let mut found = self.index.search(request).await?;
        let children: HashMap<String, u64> = found.facets.pop().unwrap_or_default().into_iter().collect();
        if children.len() == bounds.parents_max
            || counted.iter().any(|facet| found.facets[*facet].len() == bounds.own_values_max)
        {
            self.warnings.push(format!(
                "counts by {} are of the {} of type {} with the most hits, and of the {} most frequent values of the hits' own",
                self.shape.name(named),
                bounds.parents_max,
                self.inheritance.parent,
                bounds.own_values_max,
            ));
        }
        if children.is_empty() {
            for facet in counted {
                found.facets[facet].truncate(wanted[facet].values_max);
            }
            return Ok(found);
        }
        let matching = Expression::value(Field::OwnId, children.keys().cloned());
        let asked = ParentsRequest { matching, parents_max: bounds.parents_max, values: true };
        let parents = self.index.parents(vec![asked]).await?.into_iter().next().unwrap_or_default();
        let mut inherited: HashMap<String, u64> = HashMap::new();
        for parent in parents.parents {
            let count = children.get(&parent.id).copied().unwrap_or(0);
            for value in parent.values {
                *inherited.entry(value).or_default() += count;
            }
        }
        for facet in counted {
            let own = std::mem::take(&mut found.facets[facet]);
            found.facets[facet] = sum(own, &inherited, &wanted[facet]);
        }
        Ok(found)
    }

    /// Lets hits show what they have from their parents.
    async fn show_inherited(&self, hits: &mut [Hit]) -> Result<(), SearchError> {
        let ids: BTreeSet<String> = hits.iter().filter_map(|hit| hit.document.parent.clone()).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let hits_max = ids.len();
        let filter = vec![Expression::value(Field::OwnId, ids)];
        let found = self.index.search(Request { filter, ..Request::all(self.shape, hits_max) }).await?;
        let parents: HashMap<String, _> =
            found.hits.into_iter().map(|hit| (hit.document.id, hit.document.source)).collect();
        for document in hits.iter_mut().map(|hit| &mut hit.document) {
            // A child whose parent is not there yet shows its own values.
            let parent = document.parent.as_ref().and_then(|parent| parents.get(parent));
            if let Some(value) = parent.and_then(|parent| parent.get(&*self.inheritance.shown)) {
                document.source.insert(self.inheritance.shown.to_string(), value.clone());
            }
        }
        Ok(())
    }
}

/// Whether the filter lets children through.
fn may_find_children(shape: &IndexShape, inheritance: &Inheritance, request: &Request) -> bool {
    request.filter.iter().all(|condition| match condition {
        Expression::Value { field, one_of } if *field == Field::Named(shape.type_field) => {
            one_of.iter().any(|kind| inheritance.children.iter().any(|child| child == kind))
        }
        _ => true,
    })
}

/// Splits words before a prefix from the prefix: they may be in another value, and so in another document.
fn divide(query: Expression) -> Expression {
    let all = |parts: Vec<Expression>| parts.into_iter().map(divide).collect();
    match query {
        Expression::Words { field, mut terms, prefix: true } if terms.len() > 1 => {
            let last = terms.split_off(terms.len() - 1);
            let before = Expression::Words { field, terms, prefix: false };
            Expression::All(vec![before, Expression::Words { field, terms: last, prefix: true }])
        }
        Expression::All(parts) => Expression::All(all(parts)),
        Expression::Any(parts) => Expression::Any(all(parts)),
        Expression::Not(inner) => Expression::Not(Box::new(divide(*inner))),
        other => other,
    }
}

/// What parents must match where a document matches a condition by what it inherits; `None` where it cannot.
fn on_parents(inheritance: &Inheritance, condition: &Expression) -> Option<Expression> {
    let named = Field::Named(inheritance.field);
    match condition {
        Expression::Words { field, terms, prefix } if *field == Field::Text || *field == named => {
            Some(Expression::Words { field: Field::Inherited, terms: terms.clone(), prefix: *prefix })
        }
        Expression::Value { field, one_of } if *field == named => {
            Some(Expression::Value { field: Field::Inherited, one_of: Arc::clone(one_of) })
        }
        _ => None,
    }
}

fn collect(inheritance: &Inheritance, condition: &Expression, wanted: &mut Vec<Expression>) {
    match condition {
        Expression::All(parts) | Expression::Any(parts) => {
            parts.iter().for_each(|part| collect(inheritance, part, wanted));
        }
        Expression::Not(inner) => collect(inheritance, inner, wanted),
        leaf => wanted.extend(on_parents(inheritance, leaf).filter(|asked| !wanted.contains(asked))),
    }
}

fn rewrite(inheritance: &Inheritance, condition: Expression, known: &HashMap<Expression, Expression>) -> Expression {
    let all = |parts: Vec<Expression>| parts.into_iter().map(|part| rewrite(inheritance, part, known)).collect();
    match condition {
        Expression::All(parts) => Expression::All(all(parts)),
        Expression::Any(parts) => Expression::Any(all(parts)),
        Expression::Not(inner) => Expression::Not(Box::new(rewrite(inheritance, *inner, known))),
        leaf => match on_parents(inheritance, &leaf).and_then(|asked| known.get(&asked)) {
            Some(by_parent) => Expression::Any(vec![leaf, by_parent.clone()]),
            None => leaf,
        },
    }
}

/// Two counts together: the most frequent values first, those alike by value.
fn sum(own: Counts, inherited: &HashMap<String, u64>, facet: &Facet) -> Counts {
    let mut counts: HashMap<String, u64> = own.into_iter().collect();
    let takes = facet.takes();
    for (value, count) in inherited.iter().filter(|(value, _)| takes(value)) {
        *counts.entry(value.clone()).or_default() += count;
    }
    let mut counts: Counts = counts.into_iter().collect();
    counts.sort_unstable_by(|(a, of_a), (b, of_b)| of_b.cmp(of_a).then_with(|| a.cmp(b)));
    counts.truncate(facet.values_max);
    counts
}
