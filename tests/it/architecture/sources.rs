//! The source files of `src/` as text, and the paths between their modules.
//!
//! This is a reader of text, not a compiler: it reads `use` trees and paths that begin with `crate`, `self` or `super`. It
//! follows re-exports by name, but no glob imports and no macros.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A module's names below the crate root: `["catalog", "http"]`.
pub type Module = Vec<String>;

/// A file of `src/`.
pub struct Source {
    /// Below `src/`, with slashes.
    pub path: String,
    pub text: String,
}

/// All modules of the crate, with the names that each module imports.
pub struct Modules {
    imports: BTreeMap<Module, BTreeMap<String, Module>>,
    test_modules: BTreeSet<Module>,
}

/// Reads every file of `src/`, sorted by path.
pub fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders: Vec<PathBuf> = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(&root).expect("below src").to_str().expect("UTF-8").replace('\\', "/");
                sources.push(Source { text: std::fs::read_to_string(&path).expect("text"), path: below });
            }
        }
    }
    assert!(sources.len() > 50, "only {} files found: this is not src/", sources.len());
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    sources
}

impl Source {
    /// Returns the top-level module: `catalog` for `catalog/http.rs`, `app` for `app.rs`.
    pub fn part(&self) -> &str {
        let first = self.path.split('/').next().expect("a name");
        first.strip_suffix(".rs").unwrap_or(first)
    }

    pub fn is_named(&self, name: &str) -> bool {
        self.path == format!("{name}.rs") || self.path.ends_with(&format!("/{name}.rs"))
    }

    pub fn is_under(&self, folder: &str) -> bool {
        self.path.split('/').rev().skip(1).any(|part| part == folder)
    }

    /// Returns the module that the file holds: none for `lib.rs` and `main.rs`.
    pub fn module(&self) -> Module {
        let path = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        let path = path.strip_suffix("/mod").unwrap_or(path);
        if ["lib", "main"].contains(&path) { Module::new() } else { path.split('/').map(str::to_owned).collect() }
    }

    /// Returns numbered lines without comments.
    pub fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line));
        lines.map(|(number, line)| (number, line.split_once("//").map_or(line, |(code, _)| code)))
    }

    /// Returns the code without the inline module of unit tests, which stands at the end of a file.
    fn code_without_tests(&self) -> String {
        let lines: Vec<&str> = self.code().map(|(_, line)| line).collect();
        let is_test_module = |pair: &[&str]| pair[0].trim() == "#[cfg(test)]" && pair[1].starts_with("mod tests {");
        let end = lines.windows(2).position(is_test_module).unwrap_or(lines.len());
        lines[..end].join("\n")
    }

    /// Returns every path that begins with `crate`, by line: `crate::a::b`, and each of `crate::{a, b::c}`.
    pub fn crate_paths(&self) -> Vec<(usize, Vec<String>)> {
        let code = self.code().map(|(_, line)| line).collect::<Vec<_>>().join("\n");
        paths(&code, &["crate::"])
    }
}

/// Returns the paths that begin with one of these words, with the line on which each begins.
fn paths(code: &str, words: &[&str]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for word in words {
        for (start, _) in code.match_indices(word) {
            let before = code[..start].chars().next_back();
            if before.is_some_and(|character| is_identifier(character) || character == ':') {
                continue;
            }
            let line = code[..start].matches('\n').count() + 1;
            let mut tree = Vec::new();
            read_tree(&code[start..], &[], &mut tree);
            found.extend(tree.into_iter().map(|(path, _)| (line, path)));
        }
    }
    found
}

fn is_identifier(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Reads a path or a tree of `use`, and returns the rest of the text. Adds each path with the name that it is imported as.
fn read_tree<'a>(text: &'a str, prefix: &[String], found: &mut Vec<(Vec<String>, String)>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut list) = text.strip_prefix('{') {
        loop {
            list = list.trim_start().trim_start_matches(',').trim_start();
            if let Some(rest) = list.strip_prefix('}') {
                return rest;
            }
            let rest = read_tree(list, prefix, found);
            if rest.len() == list.len() {
                return rest;
            }
            list = rest;
        }
    }
    let end = text.find(|character| !is_identifier(character)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let path = [prefix, &[name.to_owned()]].concat();
    if name.is_empty() {
        if !prefix.is_empty() {
            found.push((prefix.to_vec(), "*".to_owned()));
        }
        return rest.strip_prefix('*').unwrap_or(rest);
    }
    if let Some(rest) = rest.strip_prefix("::") {
        return read_tree(rest, &path, found);
    }
    let Some(alias) = rest.strip_prefix(" as ") else {
        let imported = if name == "self" { prefix.last().cloned().unwrap_or_default() } else { name.to_owned() };
        found.push((path, imported));
        return rest;
    };
    let end = alias.find(|character| !is_identifier(character)).unwrap_or(alias.len());
    found.push((path, alias[..end].to_owned()));
    &alias[end..]
}

impl Modules {
    pub fn of(sources: &[Source]) -> Self {
        let mut modules = Self { imports: BTreeMap::new(), test_modules: BTreeSet::new() };
        for source in sources {
            let code = source.code_without_tests();
            let mut imports = BTreeMap::new();
            for (start, _) in code.match_indices("use ") {
                if code[..start].chars().next_back().is_some_and(is_identifier) {
                    continue;
                }
                let mut tree = Vec::new();
                read_tree(&code[start + "use ".len()..], &[], &mut tree);
                imports.extend(tree.into_iter().map(|(path, name)| (name, path)));
            }
            let lines: Vec<&str> = code.lines().map(str::trim).collect();
            for pair in lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]") {
                if let Some(name) = pair[1].strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
                    modules.test_modules.insert([source.module(), vec![name.to_owned()]].concat());
                }
            }
            modules.imports.insert(source.module(), imports);
        }
        modules
    }

    pub fn is_test(&self, module: &Module) -> bool {
        self.test_modules.iter().any(|test| module.starts_with(test))
    }

    /// Returns the modules that the code of a file uses, with the line. Unit tests do not count.
    pub fn used_by(&self, source: &Source) -> Vec<(usize, Module)> {
        let (code, module) = (source.code_without_tests(), source.module());
        let found = paths(&code, &["crate::", "self::", "super::"]).into_iter();
        found.filter_map(|(line, path)| Some((line, self.resolve(&module, &path, 8)?))).collect()
    }

    /// Returns the module that defines the last name of a path, or that is named by it. Follows at most `depth` imports.
    fn resolve(&self, from: &Module, path: &[String], depth: usize) -> Option<Module> {
        let (mut module, mut names) = (from.clone(), path);
        match names.first()?.as_str() {
            "crate" => (module, names) = (Module::new(), &names[1..]),
            "self" => names = &names[1..],
            "super" => {
                while names.first().is_some_and(|name| name == "super") {
                    module.pop()?;
                    names = &names[1..];
                }
            }
            child if self.imports.contains_key(&[module.clone(), vec![child.to_owned()]].concat()) => {}
            _ => return None,
        }
        for (index, name) in names.iter().enumerate() {
            let child = [module.clone(), vec![name.clone()]].concat();
            if self.imports.contains_key(&child) {
                module = child;
                continue;
            }
            let import = self.imports.get(&module).and_then(|imports| imports.get(name)).filter(|_| depth > 0);
            return match import {
                Some(import) => self.resolve(&module, &[import, &names[index + 1..]].concat(), depth - 1),
                None => Some(module),
            };
        }
        Some(module)
    }

    /// Returns each group of sibling modules that use each other in a circle: one line for each use inside of the group.
    pub fn cycles(&self, sources: &[Source]) -> Vec<String> {
        let mut folders: BTreeMap<Module, Uses> = BTreeMap::new();
        for source in sources.iter().filter(|source| !self.is_test(&source.module())) {
            let module = source.module();
            for (line, used) in self.used_by(source) {
                let shared = module.iter().zip(&used).take_while(|(one, other)| one == other).count();
                // Top-level modules have rules of their own: `ARROWS`.
                if shared > 0
                    && let (Some(user), Some(used)) = (module.get(shared), used.get(shared))
                {
                    let folder = folders.entry(module[..shared].to_vec()).or_default();
                    let place = format!("src/{}:{line}", source.path);
                    folder.entry((user.clone(), used.clone())).or_insert(place);
                }
            }
        }
        let cycles = folders.values().flat_map(|uses| {
            groups(uses).into_iter().map(|modules| {
                let is_inside = |(user, used): &(String, String)| modules.contains(user) && modules.contains(used);
                let uses = uses.iter().filter(|(edge, _)| is_inside(edge));
                let uses = uses.map(|((user, used), place)| format!("{place}: `{user}` uses `{used}`"));
                uses.collect::<Vec<_>>().join("\n")
            })
        });
        cycles.collect()
    }
}

/// Sibling modules that use each other, with the file and line of one use for each pair.
type Uses = BTreeMap<(String, String), String>;

/// Returns the groups of two or more modules that reach each other.
fn groups(uses: &Uses) -> BTreeSet<Vec<String>> {
    let reached = |from: &str| -> BTreeSet<&str> {
        let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(name) = open.pop() {
            for (_, next) in uses.keys().filter(|(user, _)| user == name) {
                if reached.insert(next.as_str()) {
                    open.push(next);
                }
            }
        }
        reached
    };
    let in_cycles = uses.keys().map(|(user, _)| user.as_str()).filter(|name| reached(name).contains(name));
    in_cycles
        .map(|name| {
            let group = reached(name).into_iter().filter(|other| reached(other).contains(name));
            group.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn paths_are_read_from_lists_and_expressions() {
    let text =
        "use crate::{a::b, c::{d, e},\n f as g};\nlet x = crate::g::h();\n// crate::no\nlet y = my_crate::no();\n";
    let source = Source { path: "x.rs".into(), text: text.into() };
    let paths: Vec<String> = source.crate_paths().into_iter().map(|(_, path)| path.join("::")).collect();
    assert_eq!(paths, ["crate::a::b", "crate::c::d", "crate::c::e", "crate::f", "crate::g::h"]);
}

#[test]
fn a_cycle_is_found_through_re_exports_and_ignores_tests() {
    let file = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
    let mut sources = vec![
        file("a/mod.rs", "mod b;\nmod c;\n#[cfg(test)]\nmod samples;\npub use c::Thing as Renamed;\n"),
        file("a/b.rs", "use super::Renamed;\n"),
        file("a/c.rs", "mod d;\n#[cfg(test)]\nmod tests {\n    use super::super::b::Item;\n}\n"),
        file("a/c/d.rs", "\n"),
        file("a/samples.rs", "use super::{b, c};\n"),
    ];
    assert!(Modules::of(&sources).cycles(&sources).is_empty());
    sources[3].text = "use super::super::{b::Item};\n".into();
    let cycles = Modules::of(&sources).cycles(&sources);
    assert_eq!(cycles, ["src/a/b.rs:1: `b` uses `c`\nsrc/a/c/d.rs:1: `c` uses `b`"]);
}
