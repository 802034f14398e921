//! Which folder an item belongs to: a repository's, an epic's, a feature's, or that of orphans; and the files that say
//! what a folder stands for.

use crate::docs::feature::{self, Subject};
use crate::docs::ledger::Container;
use crate::docs::story::Document;
use crate::docs::writer::page::{Current, Misfit, Page, Place};
use crate::model::item::{Item, Kind, Platform, Status};
use crate::model::text;
use specweave_jobs::{clock, disk};

/// Parents above parents; no tracker has more.
const MOST_LEVELS: usize = 16;

impl Page<'_> {
    /// The external id of the topmost epic or feature above an item, or of itself.
    pub(super) fn topmost_feature(&self, item: &Item) -> Option<String> {
        let mut top = (item.kind == Kind::Feature).then(|| item.external_id.clone());
        let mut next = item.parent.as_ref().map(|parent| parent.reference().to_owned());
        let ledger = &self.writer.ledger;
        for _ in 0..MOST_LEVELS {
            let Some(reference) = next.take() else { break };
            let here = self.by_key.get(reference.as_str());
            let (id, is_feature, parent) = match here.or_else(|| self.here.get(&reference.to_lowercase())) {
                Some(item) => {
                    let parent = item.parent.as_ref().map(|parent| parent.reference().to_owned());
                    (item.external_id.clone(), item.kind == Kind::Feature, parent)
                }
                None => match ledger.resolve(&reference).and_then(|key| ledger.get(key)) {
                    Some(entry) => {
                        let parent = Some(entry.parent.to_string()).filter(|parent| !parent.is_empty());
                        (entry.external_id.to_string(), entry.is_feature, parent)
                    }
                    None => break,
                },
            };
            if is_feature {
                top = Some(id);
            }
            next = parent;
        }
        top
    }

    pub(super) fn place_of(&mut self, item: &Item) -> Result<Place, Misfit> {
        let base = match (item.platform, &item.area) {
            (Platform::GitHub, _) => text::folder(item.project.rsplit('/').next().unwrap_or(&item.project)),
            (Platform::Jira, _) => text::folder(&item.project),
            (Platform::Ado, Some(area)) => {
                let first = area.split('\\').next().unwrap_or(area);
                let last = area.rsplit('\\').next().unwrap_or(area);
                format!("{}/{}", text::folder(first), text::folder(last))
            }
            (Platform::Ado, None) => format!("{}/default", text::folder(&item.project)),
        };
        if item.platform == Platform::GitHub {
            return self.repository_place(item);
        }
        let place = match self.topmost_feature(item) {
            Some(origin) => {
                let folder = self.feature_folder(&base, &origin)?;
                Place { base, folder }
            }
            None => {
                let note = format!("{base}/_orphans/README.md");
                if self.read(&note)?.is_none() {
                    self.vet(&note)?;
                    self.write(&note, feature::ORPHANS.to_owned());
                }
                Place { base, folder: "_orphans".to_owned() }
            }
        };
        self.vet(&format!("{}/{}/x", place.base, place.folder))?;
        Ok(place)
    }

    /// The one folder of a repository, also after it was renamed.
    pub(super) fn repository_place(&mut self, item: &Item) -> Result<Place, Misfit> {
        let name = |repository: &str| text::folder(repository.rsplit('/').next().unwrap_or(repository));
        let mut names = vec![item.project.clone()];
        if !self.source.eq_ignore_ascii_case(&item.project) {
            names.push(self.source.to_owned());
        }
        let known = names.iter().find_map(|repository| {
            let origin = repository.to_lowercase();
            self.writer.ledger.containers_of(&origin).into_iter().next()
        });
        let found = match known {
            Some(known) => Some((known.base.clone(), known.folder.clone(), known.origin)),
            None => names.iter().find_map(|repository| {
                let (origin, base) = (repository.to_lowercase(), name(repository));
                let folder = self.writer.base(&base).origins.get(&origin).cloned()?;
                Some((base, folder, String::new()))
            }),
        };
        let origin = item.project.to_lowercase();
        let place = match found {
            Some((base, folder, known_as)) => {
                if !self.has_feature_file(&base, &folder)? {
                    let url = repository_url(item);
                    self.write_feature(
                        &base,
                        &origin,
                        folder.clone(),
                        &Subject::Repository { name: &item.project, url },
                    )?;
                }
                if known_as != origin {
                    let container = Container::new(&origin, &base, &folder, 0);
                    self.writer.ledger.intend_container(container);
                }
                Place { base, folder }
            }
            None => {
                let base = name(&item.project);
                let subject = Subject::Repository { name: &item.project, url: repository_url(item) };
                let folder = self.new_feature(&base, &origin, &subject)?;
                Place { base, folder }
            }
        };
        self.vet(&format!("{}/{}/x", place.base, place.folder))?;
        Ok(place)
    }

    /// The folder of a feature among the stories of `base`; it is made where there is none.
    pub(super) fn feature_folder(&mut self, base: &str, external_id: &str) -> Result<String, Misfit> {
        let origin = external_id.to_lowercase();
        if let Some(known) = self.writer.ledger.container(&origin, base).cloned() {
            // A daemon may have died before it was written.
            if !self.has_feature_file(base, &known.folder)? {
                let item = self.feature_item(&origin, external_id)?;
                self.write_feature(base, &origin, known.folder.clone(), &Subject::Item(&item))?;
            }
            return Ok(known.folder);
        }
        if let Some(folder) = self.writer.base(base).origins.get(&origin).cloned() {
            let container = Container::new(&origin, base, &folder, 0);
            self.writer.ledger.intend_container(container);
            return Ok(folder);
        }
        let item = self.feature_item(&origin, external_id)?;
        self.new_feature(base, &origin, &Subject::Item(&item))
    }

    /// A feature of this page; of one that was imported before, what its own file says is enough.
    pub(super) fn feature_item(&self, origin: &str, external_id: &str) -> Result<Item, Misfit> {
        match self.here.get(origin) {
            Some(item) => Ok((*item).clone()),
            None => self.remembered(external_id),
        }
    }

    pub(super) fn has_feature_file(&mut self, base: &str, folder: &str) -> Result<bool, Misfit> {
        let path = format!("{base}/{folder}/FEATURE.md");
        if self.features.contains(&path) {
            return Ok(true);
        }
        let there = self.read(&path)?.is_some();
        if there {
            self.features.insert(path);
        }
        Ok(there)
    }

    /// A feature as its story's file tells it.
    pub(super) fn remembered(&self, external_id: &str) -> Result<Item, Misfit> {
        let key = self.writer.ledger.key_of(external_id).unwrap_or_default().to_owned();
        let text = match self.current(&key)? {
            Current::There { text, .. } => text,
            Current::Missing { .. } => String::new(),
        };
        let document = Document::parse(&text);
        let record = document.record();
        let metadata = |name: &str| document.metadata(name).unwrap_or("").to_owned();
        let platform = if external_id.starts_with("ADO-") { Platform::Ado } else { Platform::Jira };
        let type_name = match platform {
            Platform::Ado => metadata("ADO Work Item Type"),
            _ => metadata("JIRA Issue Type"),
        };
        Ok(Item {
            key,
            external_id: external_id.to_owned(),
            platform,
            shown: external_id.to_owned(),
            title: record.title,
            body: document.description().to_owned(),
            criteria: None,
            kind: Kind::Feature,
            type_name,
            status: match record.status.as_str() {
                "In Progress" => Status::InProgress,
                "Completed" => Status::Completed,
                "Cancelled" => Status::Cancelled,
                "Removed" => Status::Removed,
                _ => Status::Open,
            },
            state: String::new(),
            revision: String::new(),
            is_html: false,
            by_outsider: false,
            priority: None,
            labels: Vec::new(),
            created: 0,
            updated: 0,
            url: metadata("External URL"),
            parent: None,
            project: metadata("ADO Area Path").split('\\').next().unwrap_or("").to_owned(),
            area: Some(metadata("ADO Area Path")).filter(|area| !area.is_empty()),
        })
    }

    pub(super) fn new_feature(
        &mut self,
        base: &str,
        origin: &str,
        subject: &Subject,
    ) -> Result<String, Misfit> {
        let folder = loop {
            let numbers = self.writer.base(base);
            numbers.last_feature += 1;
            let folder = format!("FS-{:03}E", numbers.last_feature);
            if !disk::exists(&self.writer.root().join(base).join(&folder)) {
                break folder;
            }
        };
        self.write_feature(base, origin, folder, subject)
    }

    pub(super) fn write_feature(
        &mut self,
        base: &str,
        origin: &str,
        folder: String,
        subject: &Subject,
    ) -> Result<String, Misfit> {
        let path = format!("{base}/{folder}/FEATURE.md");
        self.vet(&path)?;
        let text = feature::text(&folder, subject, clock::now());
        let print = text::hash(&text);
        let container = Container::new(origin, base, &folder, print);
        self.writer.ledger.intend_container(container);
        self.write(&path, text);
        Ok(folder)
    }

    /// Brings the files of a feature up to date, where nobody has changed them.
    pub(super) fn update_features(&mut self, item: &Item) -> Result<(), Misfit> {
        for container in self.writer.ledger.containers_of(&item.external_id.to_lowercase()) {
            let path = format!("{}/{}/FEATURE.md", container.base, container.folder);
            let Some(current) = self.read(&path)? else { continue };
            if ![container.print, container.earlier_print].contains(&text::hash(&current)) {
                continue;
            }
            let created = feature::created(&current).unwrap_or_else(clock::now);
            let text = feature::text(&container.folder, &Subject::Item(item), created);
            if text != current {
                let print = text::hash(&text);
                self.writer.ledger.intend_container(Container::new(
                    &container.origin,
                    &container.base,
                    &container.folder,
                    print,
                ));
                self.write(&path, text);
            }
        }
        Ok(())
    }
}

/// The address of an issue's repository.
fn repository_url(item: &Item) -> String {
    item.url.rsplit_once("/issues/").map_or("", |(url, _)| url).to_owned()
}
