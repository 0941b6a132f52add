//! What a kernel says of itself when a program has brought it to do wrong.

/// With one of these a message of that kind begins.
const COMPLAINTS: [&str; 5] =
    ["BUG: ", "kernel BUG at", "Oops", "general protection fault", "WARNING: "];
/// A machine that was frozen for a while, or shares its processor, has been stuck.
const EXCUSED: &str = "soft lockup";

/// Messages of the kernel's on a console, each after its time in brackets; programs write there too.
pub fn complaints(console: &str) -> Vec<String> {
    let messages = console.lines().filter_map(|line| line.strip_prefix('[')?.split_once("] "));
    let messages = messages.map(|(_, message)| message.trim());
    let is_complaint = |message: &&str| {
        COMPLAINTS.iter().any(|words| message.contains(words)) && !message.contains(EXCUSED)
    };
    messages.filter(is_complaint).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_the_kernel_are_told_from_all_else() {
        let console = "[    5.1] memtrace[120]: segfault at 0 ip 0 sp 0\r\n\
                       memtrace says BUG: not by the kernel\n\
                       [  101.234567] kernel BUG at mm/usercopy.c:102!\r\n\
                       [  101.3] Oops: invalid opcode: 0000 [#1] PREEMPT SMP NOPTI\n\
                       [  300.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!\n";
        let expected = [
            "kernel BUG at mm/usercopy.c:102!",
            "Oops: invalid opcode: 0000 [#1] PREEMPT SMP NOPTI",
        ];
        assert_eq!(complaints(console), expected);
        assert!(complaints("").is_empty());
    }
}
