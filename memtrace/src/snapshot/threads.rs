//! The threads of a snapshot: what each waits for, and its stack with names.

use std::time::Instant;

use anyhow::{Context as _, Result};
use memtrace_abi::{mapping::Mapping, python::Python};
use syscalls::Sysno;

use super::{
    Cost, Moment, Part, Scene, Snapshot, Stack, Thread,
    names::Names,
    stacks::{self, Certainty, Code, Pages, Reader},
};
use crate::{
    kernel::Threads,
    objects::Interpreter,
    process::{
        namespaces::ensure_initial_pid_namespace,
        threads::{self, SystemCall, Wait},
    },
    python::lock,
};

/// Of the time that is left, stacks may take one of so many parts.
const THREADS_SHARE: u32 = 4;

/// Every thread. Stacks that cannot be read are missing in their threads.
pub(super) fn read(scene: &Scene<'_>, snapshot: &mut Snapshot) -> Result<Vec<Thread>> {
    let listed = scene.process.threads()?;
    let ids: Vec<u32> = listed.iter().map(|thread| thread.id).collect();
    let waits = scene.process.waits(&ids).unwrap_or_else(|error| {
        snapshot.notes.push(format!("What threads wait for is not known: {error:#}."));
        vec![Wait::default(); ids.len()]
    });
    let mut threads: Vec<Thread> =
        listed.into_iter().zip(&waits).map(|(task, wait)| describe(task, wait)).collect();
    let calls = ids.iter().zip(&waits);
    let calls = calls.filter_map(|(id, wait)| Some((*id, wait.system_call?))).collect();
    match add_stacks(scene, &mut threads, calls, &mut snapshot.notes) {
        Ok(cost) => snapshot.cost = cost,
        Err(error) => {
            let reason = format!("{error:#}");
            for thread in &mut threads {
                thread.stack = Part::Missing(reason.clone());
            }
        }
    }
    Ok(threads)
}

fn describe(task: threads::Thread, wait: &Wait) -> Thread {
    let number = wait.system_call.and_then(|call| call.number);
    Thread {
        task,
        wait_channel: wait.channel.clone(),
        system_call: number.map(name_of_call),
        is_python: false,
        holds_lock: None,
        stack: Part::default(),
    }
}

fn name_of_call(number: u32) -> String {
    let known = Sysno::new(number as usize);
    known.map_or_else(|| format!("system call {number}"), |call| call.name().to_owned())
}

/// Reads the stacks of all threads.
fn add_stacks(
    scene: &Scene<'_>,
    threads: &mut [Thread],
    calls: Vec<(u32, SystemCall)>,
    notes: &mut Vec<String>,
) -> Result<Cost> {
    let mappings = scene.mappings()?;
    let interpreter = scene.objects.interpreter(mappings);
    let code = scene.objects.code(mappings);
    // The kernel programs know threads by the ids that they have outside.
    let loaded = ensure_initial_pid_namespace()
        .and_then(|()| Threads::load(scene.process.pid(), interpreter.layout));
    let mut reader = reader(scene, &code, interpreter.layout);
    reader.has_subinterpreters = has_subinterpreters(scene, &interpreter);
    let stacks = match loaded {
        Ok(mut kernel) => reader.read(&mut kernel).context("read the stacks")?,
        Err(error) => {
            notes.push(format!(
                "Stacks are those of waiting threads, as far as the stack pointer leads, without \
                 Python: {error:#}."
            ));
            reader.read_partly(&calls)
        }
    };
    let holder = holder(scene, &interpreter);
    let steps = stacks.by_thread.values().flat_map(|stack| &stack.steps);
    let names = Names::find(scene.objects, &interpreter.layout, scene.process.memory(), steps);
    for thread in threads {
        if let Some(stack) = stacks.by_thread.get(&thread.task.id) {
            fill(thread, stack, &names, holder);
        } else {
            let reason = why_missing(thread.task.state, stacks.is_late);
            thread.stack = Part::Missing(reason.to_owned());
        }
    }
    Ok(Cost {
        interruptions: stacks.interruptions,
        interrupted: stacks.interrupted,
        ..Cost::default()
    })
}

fn reader<'scene>(
    scene: &'scene Scene<'_>,
    mappings: &'scene [Mapping],
    python: Python,
) -> Reader<'scene> {
    Reader {
        code: Code { mappings, objects: scene.objects, python },
        memory: scene.process.memory(),
        has_subinterpreters: false,
        deadline: Instant::now() + scene.time_left() / THREADS_SHARE,
    }
}

/// Whether there is more than one interpreter in the process.
fn has_subinterpreters(scene: &Scene<'_>, interpreter: &Interpreter<'_>) -> bool {
    let second = || {
        let (runtime, bias) = interpreter.runtime?;
        let python = runtime.interpreter(bias).ok()?;
        let structures = python.structures;
        let pages = Pages::new(scene.process.memory());
        let first = python.runtime.start.wrapping_add(structures.interpreters_head);
        let first = pages.word(first)?;
        pages.word(first.wrapping_add(structures.interpreter_next))
    };
    second().is_some_and(|second| second != 0)
}

const fn why_missing(state: char, is_late: bool) -> &'static str {
    match state {
        'Z' | 'X' => "it has ended",
        _ if is_late => "there was no time to read it",
        'R' => "it was about to run, and did not while it was waited for",
        _ => "it ran or ended while it was looked at",
    }
}

fn fill(thread: &mut Thread, stack: &stacks::Stack, names: &Names<'_>, holder: Option<u64>) {
    thread.is_python = stack.thread_state != 0;
    if stack.certainty != Certainty::Partial {
        thread.holds_lock = holder.map(|holder| thread.is_python && holder == stack.thread_state);
    }
    thread.stack = Part::Read(self::stack(stack, names));
}

fn stack(stack: &stacks::Stack, names: &Names<'_>) -> Stack {
    let moment = match stack.certainty {
        Certainty::Waiting => Moment::Waiting,
        Certainty::Running => Moment::Running,
        Certainty::Moving => Moment::Moving,
        Certainty::Partial => Moment::Partial,
    };
    Stack { frames: names.frames(&stack.steps), moment }
}

/// The thread state that holds the interpreter lock, 0 for none; `None` if that is not known.
fn holder(scene: &Scene<'_>, interpreter: &Interpreter<'_>) -> Option<u64> {
    let (runtime, bias) = interpreter.runtime?;
    let pages = Pages::new(scene.process.memory());
    let start = runtime.runtime.start.wrapping_add(bias);
    lock::holder(runtime.version.minor, start, |address| pages.word(address))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::tests::sleeper, *};
    use crate::objects::Objects;

    #[test]
    fn time_is_the_reason_only_where_it_was_over() {
        assert_eq!(why_missing('S', true), why_missing('R', true));
        assert!(why_missing('S', true).contains("no time"));
        assert!(
            !['S', 'R', 'Z'].iter().any(|state| why_missing(*state, false).contains("no time"))
        );
        assert_eq!(why_missing('Z', true), "it has ended");
    }

    #[test]
    fn stacks_leave_time_for_the_rest() {
        let (mut child, process) = sleeper();
        let mut objects = Objects::with_cache();
        let begin = Instant::now();
        let scene = Scene::look(&process, &mut objects, begin + Duration::from_hours(1)).unwrap();
        let deadline = reader(&scene, &[], Python::default()).deadline;
        child.kill().and_then(|()| child.wait()).unwrap();
        assert!(deadline <= begin + Duration::from_mins(16) && deadline > begin, "{deadline:?}");
    }
}
