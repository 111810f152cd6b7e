//! All routes together: their names, and conflicts.

use std::collections::{HashMap, HashSet};

use super::check::Check;
use super::{Problem, Route};
use crate::route::{Shape, conflicts};

/// Each route has a name and requests of its own.
pub(super) fn check_distinct(check: &mut Check<'_>, routes: &[Route]) {
    let in_conflict = check_conflicts(check, routes);
    let mut seen: HashMap<&str, &Route> = HashMap::new();
    for (index, route) in routes.iter().enumerate() {
        // One that is written twice needs no other name.
        if let Some(other) = seen.insert(&route.name, route)
            && !in_conflict.contains(&index)
        {
            check.problems.push(
                Problem::error(
                    route.place.clone(),
                    format!("two routes are named \"{}\"", route.name),
                )
                .also(other.place.clone(), "the other one")
                .help("give one of them another name = \"…\""),
            );
        }
    }
}

/// No two routes could both win. Returns the indexes of those that could, with an earlier one.
fn check_conflicts(check: &mut Check<'_>, routes: &[Route]) -> HashSet<usize> {
    let shapes: Vec<Shape<'_>> = routes
        .iter()
        .map(|route| Shape {
            host: route.host.as_ref(),
            path: &route.path.value,
            methods: route.methods.as_deref(),
        })
        .collect();
    let mut in_conflict = HashSet::new();
    for (earlier, later, conflict) in conflicts(&shapes) {
        in_conflict.insert(later);
        check.problems.push(
            Problem::error(
                routes[later].path.place.clone(),
                format!(
                    "\"{}\" and \"{}\": {conflict}",
                    routes[earlier].name, routes[later].name
                ),
            )
            .label("this one")
            .also(routes[earlier].path.place.clone(), "and this one"),
        );
    }
    in_conflict
}
