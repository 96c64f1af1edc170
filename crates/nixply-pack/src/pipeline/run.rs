//! Carrying out a pipeline.

use super::PipelineError;
use super::graph::Graph;
use super::operation::{Direction, Operation, Part, Splitter, Step};
use crate::dag::Dag;
use crate::names::moved_hash_ranks;
use crate::popularity;
use nixply_store::Closure;

/// The most graphs that a pipeline makes. Far more than a closure has paths; what stops one are steps that double the
/// number of empty graphs each.
const MOST_GRAPHS: usize = 1 << 20;

/// What one step gives to the next.
#[derive(Debug, Clone)]
enum Data {
    Graph(Graph),
    List(Vec<Data>),
    Parts(Vec<(Part, Data)>),
}

impl Data {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Graph(_) => "a graph",
            Self::List(_) => "a list",
            Self::Parts(_) => "named parts (`flatten` makes a list of them)",
        }
    }

    /// Puts all graphs behind those that are there.
    fn flatten_into(self, graphs: &mut Vec<Graph>) {
        match self {
            Self::Graph(graph) => graphs.push(graph),
            Self::List(list) => {
                for data in list {
                    data.flatten_into(graphs);
                }
            }
            Self::Parts(parts) => {
                for (_, data) in parts {
                    data.flatten_into(graphs);
                }
            }
        }
    }

    fn flattened(self) -> Vec<Graph> {
        let mut graphs = Vec::new();
        self.flatten_into(&mut graphs);
        graphs
    }
}

/// A pipeline at work on a closure.
pub(super) struct Run<'a> {
    closure: &'a Closure,
    dag: &'a Dag,
    /// Ties of the contest, by position in the closure.
    ranks: Vec<u32>,
    /// Where a path stands in [`Dag::users_first`].
    depths: Vec<u32>,
    /// How many graphs were made.
    made: usize,
}

impl<'a> Run<'a> {
    pub(super) fn new(closure: &'a Closure, dag: &'a Dag) -> Self {
        let mut depths = vec![0; dag.len()];
        for (depth, &path) in (0..).zip(&dag.users_first) {
            depths[path as usize] = depth;
        }
        Self {
            closure,
            dag,
            ranks: moved_hash_ranks(closure),
            depths,
            made: 0,
        }
    }

    /// What all steps make of the whole graph.
    pub(super) fn graphs(&mut self, steps: &[Step]) -> Result<Vec<Graph>, PipelineError> {
        let mut paths: Vec<u32> = self.dag.nodes().collect();
        // A closure stands in byte order of store paths, and the sort is stable.
        paths.sort_by_key(|&path| self.closure.paths()[path as usize].nar_size_bytes);
        let whole = Graph::new(paths, &self.dag.references);
        Ok(self.all(steps, Data::Graph(whole))?.flattened())
    }

    fn all(&mut self, steps: &[Step], data: Data) -> Result<Data, PipelineError> {
        let mut steps = steps.iter();
        steps.try_fold(data, |data, step| self.step(step, data))
    }

    fn step(&mut self, step: &Step, data: Data) -> Result<Data, PipelineError> {
        match (&step.operation, data) {
            (Operation::PopularityContest, Data::Graph(graph)) => {
                let order = self.by_popularity(&graph);
                self.list(step, order.into_iter().map(Graph::single))
            }
            (Operation::SplitEvery(count), Data::Graph(graph)) => {
                let len = graph.paths().len();
                let starts = (0..len).step_by(count.get());
                let end = |start: usize| start.saturating_add(count.get()).min(len);
                self.list(step, starts.map(|start| graph.range(start, end(start))))
            }
            (Operation::SplitPaths(splitters), Data::Graph(graph)) => {
                let parts = self.split(graph, splitters);
                self.parts(step, parts)
            }
            (Operation::Subcomponent(direction, paths), Data::Graph(graph)) => {
                let is_main = graph.reached(&self.find(&graph, paths), *direction);
                let main = graph.part(|at| is_main[at]);
                let rest = graph.part(|at| !is_main[at]);
                self.parts(step, vec![(Part::Main, main), (Part::Rest, rest)])
            }
            (Operation::RemovePaths(paths), Data::Graph(graph)) => {
                let mut is_removed = vec![false; graph.paths().len()];
                for at in self.find(&graph, paths) {
                    is_removed[at as usize] = true;
                }
                Ok(Data::Graph(graph.part(|at| !is_removed[at])))
            }
            (Operation::LimitLayers(most), Data::List(list)) => limited(step, list, most.get()),
            (Operation::Over(part, inner), Data::Parts(parts)) => {
                let over = |(name, data)| {
                    let data = if name == *part {
                        self.step(inner, data)?
                    } else {
                        data
                    };
                    Ok((name, data))
                };
                Ok(Data::Parts(
                    parts.into_iter().map(over).collect::<Result<_, _>>()?,
                ))
            }
            (Operation::Map(inner), Data::List(list)) => {
                let each = list.into_iter().map(|data| self.step(inner, data));
                Ok(Data::List(each.collect::<Result<_, _>>()?))
            }
            (Operation::Pipe(steps), data) => self.all(steps, data),
            (Operation::Flatten, data) => {
                let graphs = data.flattened().into_iter();
                Ok(Data::List(graphs.map(Data::Graph).collect()))
            }
            (Operation::Reverse, Data::List(mut list)) => {
                list.reverse();
                Ok(Data::List(list))
            }
            (operation, data) => Err(PipelineError::Input {
                place: step.place.clone(),
                operation: operation.name(),
                expected: match operation {
                    Operation::LimitLayers(_) | Operation::Map(_) | Operation::Reverse => "a list",
                    Operation::Over(..) => {
                        "named parts, as `split_paths` and `subcomponent_out` make them"
                    }
                    _ => "a graph",
                },
                found: data.kind(),
            }),
        }
    }

    fn list(
        &mut self,
        step: &Step,
        graphs: impl ExactSizeIterator<Item = Graph>,
    ) -> Result<Data, PipelineError> {
        self.count(step, graphs.len())?;
        Ok(Data::List(graphs.map(Data::Graph).collect()))
    }

    fn parts(&mut self, step: &Step, parts: Vec<(Part, Graph)>) -> Result<Data, PipelineError> {
        self.count(step, parts.len())?;
        let parts = parts.into_iter();
        Ok(Data::Parts(
            parts
                .map(|(part, graph)| (part, Data::Graph(graph)))
                .collect(),
        ))
    }

    /// Counts graphs before they are made.
    fn count(&mut self, step: &Step, more: usize) -> Result<(), PipelineError> {
        self.made = self.made.saturating_add(more);
        if self.made <= MOST_GRAPHS {
            return Ok(());
        }
        Err(PipelineError::TooManyParts {
            place: step.place.clone(),
            most: MOST_GRAPHS,
        })
    }

    /// Where store paths stand in a graph; those that it does not hold are left out, as in nixpkgs.
    fn find(&self, graph: &Graph, paths: &[String]) -> Vec<u32> {
        let find = |text: &String| {
            let path = self.closure.store_dir().parse(text).ok()?;
            graph.find(self.closure.find(&path)?.0)
        };
        paths.iter().filter_map(find).collect()
    }

    /// The paths of a graph, the most popular first, by the references that the graph has.
    fn by_popularity(&self, graph: &Graph) -> Vec<u32> {
        let len = u32::try_from(graph.paths().len()).unwrap_or(u32::MAX);
        let closure_path = |at: u32| graph.paths()[at as usize];
        let mut users_first: Vec<u32> = (0..len).collect();
        users_first.sort_unstable_by_key(|&at| self.depths[closure_path(at) as usize]);
        let dag = Dag {
            users_first,
            users: graph.references().transposed(),
            references: graph.references().clone(),
        };
        let order = popularity::order(&dag, |at| self.ranks[closure_path(at) as usize]);
        order.into_iter().map(closure_path).collect()
    }

    /// `split_paths`: some paths with what only they need, what they need and others too, and everything else. Parts that
    /// are empty are left out.
    fn split(&self, graph: Graph, splitters: &[Splitter]) -> Vec<(Part, Graph)> {
        let mut split = Vec::new();
        for splitter in splitters {
            match splitter {
                Splitter::Path(path) => split.extend(self.find(&graph, std::slice::from_ref(path))),
                Splitter::ChildrenOf(paths) => {
                    for at in self.find(&graph, paths) {
                        split.extend_from_slice(graph.references().of(at));
                    }
                }
            }
        }
        if split.is_empty() {
            return vec![(Part::Rest, graph)];
        }
        let roots = graph.roots();
        if let [root] = roots.as_slice()
            && split.contains(root)
        {
            return vec![(Part::Main, graph)];
        }
        let is_split = graph.reached(&split, Direction::Out);
        let cut = graph.cut_off(&split);
        // Of several roots, those among the split paths start nothing, as if one root referred to all of them.
        let others: Vec<u32> = roots
            .into_iter()
            .filter(|root| !split.contains(root))
            .collect();
        let is_other = cut.reached(&others, Direction::Out);
        let parts = [
            (Part::Main, cut.part(|at| is_split[at] && !is_other[at])),
            (Part::Common, cut.part(|at| is_split[at] && is_other[at])),
            (Part::Rest, cut.part(|at| !is_split[at])),
        ];
        let parts = parts.into_iter();
        parts.filter(|(_, graph)| !graph.is_empty()).collect()
    }
}

/// The first `most - 1` members of a list and what the others make together.
fn limited(step: &Step, mut list: Vec<Data>, most: usize) -> Result<Data, PipelineError> {
    if list.len() <= most {
        return Ok(Data::List(list));
    }
    let rest = list.split_off(most - 1);
    let mut graphs = Vec::new();
    let mut lists = Vec::new();
    for data in rest {
        match data {
            Data::Graph(graph) => graphs.push(graph),
            Data::List(list) => lists.extend(list),
            Data::Parts(_) => return Err(mixed(step)),
        }
    }
    // Lists are put together, not what is in them: that is what adding lists is in Python.
    list.push(match (graphs.is_empty(), lists.is_empty()) {
        (false, true) => Data::Graph(Graph::joined(&graphs)),
        (true, _) => Data::List(lists),
        (false, false) => return Err(mixed(step)),
    });
    Ok(Data::List(list))
}

fn mixed(step: &Step) -> PipelineError {
    PipelineError::Input {
        place: step.place.clone(),
        operation: step.operation.name(),
        expected: "a list of graphs",
        found: "a list of other things as well (`flatten` makes one of graphs only)",
    }
}
