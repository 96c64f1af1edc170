//! Who does what next in a push: the one place where its threads meet.
//!
//! Layers that are the same by key, or by the digest of their record, form a [`Group`], which is made and sent once.
//! A group goes through these states, always under the lock:
//!
//! ```text
//! known ──> to_check ──> checking ──┬──────────────────────────────────────────> done (already there)
//!                                   └─> to_make ──> making ─┬─> to_send ──> done (sent, or found there)
//! not known ──────────────────────────> to_make             └─> waits for a blob that another group sends
//! ```
//!
//! The first failure ends everything; later ones are its consequences and are dropped.

use crate::RegistryError;
use crate::buffer::StreamedLayer;
use bytes::Bytes;
use nixply_oci::{Image, LayerDigest, LayerKey, LayerRecord, MediaType};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Layers of an image that have the same bytes: made once, sent once.
#[derive(Debug)]
pub(crate) struct Group {
    /// The layers, by index; never empty.
    pub(crate) layers: Vec<usize>,
    /// What they are, where that is known beforehand.
    pub(crate) known: Option<LayerRecord>,
    weight_bytes: u64,
}

impl Group {
    /// The layer that is made for all of them.
    pub(crate) fn first(&self) -> usize {
        self.layers[0]
    }

    /// Groups an image's layers, biggest first, and by index where sizes are the same.
    pub(crate) fn of_image(image: &dyn Image) -> Vec<Self> {
        #[derive(PartialEq, Eq, PartialOrd, Ord)]
        enum Same {
            Digest(LayerDigest),
            Key(LayerKey, MediaType),
            Nothing(usize),
        }
        let mut groups: BTreeMap<Same, Self> = BTreeMap::new();
        for (layer_idx, layer) in image.layers().iter().enumerate() {
            let known = layer.known();
            let same = match (&known, layer.key()) {
                (Some(record), _) => Same::Digest(record.digest),
                (None, Some(key)) => Same::Key(key, layer.media_type()),
                (None, None) => Same::Nothing(layer_idx),
            };
            groups
                .entry(same)
                .or_insert_with(|| Self {
                    layers: Vec::new(),
                    known,
                    weight_bytes: layer.weight_bytes(),
                })
                .layers
                .push(layer_idx);
        }
        let mut groups: Vec<Self> = groups.into_values().collect();
        groups.sort_by_key(|group| (Reverse(group.weight_bytes), group.first()));
        groups
    }
}

/// Work for a thread that speaks HTTP. The numbers are those of groups.
#[derive(Debug)]
pub(crate) enum NetworkWork {
    /// Ask whether the registry has this.
    Check(usize, LayerRecord),
    /// Ask, and send this if it has not.
    Send(usize, LayerRecord, Vec<Bytes>),
    /// Send this while it is made.
    Stream(usize, StreamedLayer),
}

/// A group that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    /// Which group.
    pub(crate) group: usize,
    /// What its layers are.
    pub(crate) record: LayerRecord,
    /// How many bytes were sent for it; `None` if the registry had it.
    pub(crate) sent_bytes: Option<u64>,
}

#[derive(Debug)]
enum Blob {
    /// A group sends it; these others wait for that.
    Claimed(Vec<(usize, LayerRecord)>),
    /// The registry has it.
    Present,
}

#[derive(Debug, Default)]
struct State {
    /// Smallest first: work is taken from the end. Group numbers are by size already.
    to_make: Vec<usize>,
    to_check: VecDeque<(usize, LayerRecord)>,
    to_send: VecDeque<NetworkWork>,
    /// Groups whose check has not ended, which may still have to be made.
    undecided: usize,
    /// Groups whose record proved to be wrong.
    doubted: BTreeSet<usize>,
    /// Groups whose bytes are in memory, at least in part.
    in_memory: usize,
    unfinished: usize,
    blobs: BTreeMap<LayerDigest, Blob>,
    done: Vec<Done>,
    failure: Option<RegistryError>,
}

/// Hands out work, biggest layers first, and gathers what became of it.
#[derive(Debug)]
pub(crate) struct Schedule {
    state: Mutex<State>,
    changed: Condvar,
    is_over: watch::Sender<bool>,
    in_memory_max: usize,
}

impl Schedule {
    /// Starts with nothing done. At most `in_memory_max` groups have bytes in memory at once.
    pub(crate) fn new(groups: &[Group], in_memory_max: usize) -> Self {
        let mut state = State {
            unfinished: groups.len(),
            ..State::default()
        };
        for (group, layers) in groups.iter().enumerate() {
            match &layers.known {
                Some(record) => state.to_check.push_back((group, record.clone())),
                None => state.to_make.push(group),
            }
        }
        state.undecided = state.to_check.len();
        state.to_make.reverse();
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            is_over: watch::Sender::new(false),
            in_memory_max,
        }
    }

    /// The next group to make; waits for one, and for room in memory. `None` when there will be no more.
    pub(crate) fn next_to_make(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if state.failure.is_some() || (state.to_make.is_empty() && state.undecided == 0) {
                return None;
            }
            if state.in_memory < self.in_memory_max
                && let Some(group) = state.to_make.pop()
            {
                state.in_memory += 1;
                return Some(group);
            }
            state = self.wait(state);
        }
    }

    /// The next work for the network; waits for some. `None` when there will be no more.
    pub(crate) fn next_for_network(&self) -> Option<NetworkWork> {
        let mut state = self.lock();
        loop {
            if state.failure.is_some() || state.unfinished == 0 {
                return None;
            }
            if let Some(work) = state.to_send.pop_front() {
                return Some(work);
            }
            if let Some((group, record)) = state.to_check.pop_front() {
                return Some(NetworkWork::Check(group, record));
            }
            state = self.wait(state);
        }
    }

    /// A check found nothing: the group has to be made.
    pub(crate) fn absent(&self, group: usize) {
        let mut state = self.lock();
        state.undecided -= 1;
        let at = state.to_make.partition_point(|&other| other > group);
        state.to_make.insert(at, group);
        self.changed.notify_all();
    }

    /// A check found something that the group's record cannot be about: the group has to be made, whatever it turns out
    /// to be.
    pub(crate) fn doubted(&self, group: usize) {
        self.lock().doubted.insert(group);
        self.absent(group);
    }

    /// True after [`Schedule::doubted`].
    pub(crate) fn is_doubted(&self, group: usize) -> bool {
        self.lock().doubted.contains(&group)
    }

    /// A check found the group's blob.
    pub(crate) fn present(&self, group: usize, record: LayerRecord) -> Vec<Done> {
        let mut state = self.lock();
        state.undecided -= 1;
        self.finish(&mut state, group, record, None)
    }

    /// A group was made and is in memory. Returns what is done by that: the group itself if its blob is there already.
    pub(crate) fn made(
        &self,
        group: usize,
        record: LayerRecord,
        segments: Vec<Bytes>,
    ) -> Vec<Done> {
        let mut state = self.lock();
        match state.blobs.get_mut(&record.digest) {
            Some(Blob::Present) => {
                state.in_memory -= 1;
                return self.finish(&mut state, group, record, None);
            }
            Some(Blob::Claimed(waiting)) => {
                waiting.push((group, record));
                state.in_memory -= 1;
            }
            None => {
                state.blobs.insert(record.digest, Blob::Claimed(Vec::new()));
                state
                    .to_send
                    .push_back(NetworkWork::Send(group, record, segments));
            }
        }
        self.changed.notify_all();
        Vec::new()
    }

    /// A group outgrew its budget and is to be sent while it is made.
    pub(crate) fn streamed(&self, group: usize, layer: StreamedLayer) {
        let mut state = self.lock();
        state.to_send.push_back(NetworkWork::Stream(group, layer));
        self.changed.notify_all();
    }

    /// A group that was in memory is in the registry.
    pub(crate) fn sent(
        &self,
        group: usize,
        record: LayerRecord,
        sent_bytes: Option<u64>,
    ) -> Vec<Done> {
        let mut state = self.lock();
        state.in_memory -= 1;
        self.finish(&mut state, group, record, sent_bytes)
    }

    /// Ends the push, unless something else has ended it before.
    pub(crate) fn fail(&self, error: RegistryError) {
        let mut state = self.lock();
        state.failure.get_or_insert(error);
        self.is_over.send_replace(true);
        self.changed.notify_all();
    }

    /// True once the push has failed.
    pub(crate) fn is_over(&self) -> bool {
        *self.is_over.borrow()
    }

    /// Resolves once the push has failed.
    pub(crate) async fn over(&self) {
        let mut is_over = self.is_over.subscribe();
        // The sender lives as long as this schedule.
        let _ = is_over.wait_for(|over| *over).await;
    }

    /// What became of the groups, or the failure.
    pub(crate) fn into_result(self) -> Result<Vec<Done>, RegistryError> {
        let state = self
            .state
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        match state.failure {
            Some(error) => Err(error),
            None => Ok(state.done),
        }
    }

    fn finish(
        &self,
        state: &mut State,
        group: usize,
        record: LayerRecord,
        sent_bytes: Option<u64>,
    ) -> Vec<Done> {
        let mut done = Vec::new();
        if let Some(Blob::Claimed(waiting)) = state.blobs.insert(record.digest, Blob::Present) {
            done.extend(waiting.into_iter().map(|(group, record)| Done {
                group,
                record,
                sent_bytes: None,
            }));
        }
        done.insert(
            0,
            Done {
                group,
                record,
                sent_bytes,
            },
        );
        state.unfinished -= done.len();
        state.done.extend(done.iter().cloned());
        self.changed.notify_all();
        done
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A thread that panics while it holds the lock ends the push anyway, through its guard.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }
}
