//! `contender git2|gix FOLDER < ADDRESSES`: clones each address of standard input into a folder of its name, eight at a time, with a
//! library as it comes.

use std::error::Error;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::{env, io, thread};

type Cloned = Result<(), Box<dyn Error>>;

const AT_A_TIME: usize = 8;

fn main() {
    let mut arguments = env::args().skip(1);
    let clone = match arguments.next().as_deref() {
        Some("git2") => by_git2,
        Some("gix") => by_gix,
        other => panic!("git2 or gix, not {other:?}"),
    };
    let folder = PathBuf::from(arguments.next().expect("a folder"));
    let addresses = Mutex::new(io::stdin().lock().lines().collect::<Result<Vec<_>, _>>().unwrap().into_iter());
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let next = addresses.lock().unwrap().next();
                    let Some(address) = next else { return };
                    let name = address.rsplit('/').next().unwrap().trim_end_matches(".git");
                    if let Err(error) = clone(&address, &folder.join(name)) {
                        panic!("{address}: {}", causes(error.as_ref()));
                    }
                }
            });
        }
    });
}

fn by_git2(address: &str, to: &Path) -> Cloned {
    git2::Repository::clone(address, to)?;
    Ok(())
}

fn by_gix(address: &str, to: &Path) -> Cloned {
    let go_on = AtomicBool::new(false);
    let (mut checkout, _) =
        gix::prepare_clone(address, to)?.fetch_then_checkout(gix::progress::Discard, &go_on)?;
    checkout.main_worktree(gix::progress::Discard, &go_on)?;
    Ok(())
}

fn causes(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", causes(cause)),
        None => error.to_string(),
    }
}
