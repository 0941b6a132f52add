//! Whose resident memory is: to the page, by the stack that touched it first.

use crate::support::{memtrace::Tracing, workload::Workload};

#[test]
fn every_page_belongs_to_the_function_that_touched_it_first() {
    let mut pages = Workload::c("pages");
    let tracing = Tracing::attach_with(pages.pid(), &["--view", "resident"]);
    let sums = pages.work_and_sum();
    let report = tracing.stop();
    for function in ["touch_first", "touch_second", "touch_third", "touch_in_kernel"] {
        let [bytes] = *sums.values(function) else { panic!("one number") };
        let (resident, count) = report.within("resident", function);
        assert_eq!((resident, count), (bytes, bytes / 4096), "{function}");
    }
}
