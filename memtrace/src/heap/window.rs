//! Pages in a row, as far as they are in memory.

use super::memory::PAGE;

/// Some pages in a row, those of them that are in memory.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// One bit for each page that is here, the lowest one for the first page.
    here: u64,
    /// The bytes of these, one page behind the other.
    bytes: Vec<u8>,
}

impl Window {
    /// Most pages of one.
    pub const MAX_PAGES: usize = u64::BITS as usize;

    /// Says for each page whether it is here, with the bytes of those that are; what there are no
    /// bytes for is not.
    #[must_use]
    pub fn new(is_here: &[bool], bytes: Vec<u8>) -> Self {
        let numbers = is_here.iter().take(Self::MAX_PAGES).enumerate();
        let numbers = numbers.filter(|(_, is_here)| **is_here).map(|(number, _)| number);
        let here =
            numbers.take(bytes.len() / PAGE as usize).fold(0, |here, number| here | 1 << number);
        Self { here, bytes }
    }

    /// Adds a page behind those that are here.
    pub fn push(&mut self, number: usize, bytes: &[u8; PAGE as usize]) {
        self.here |= 1 << number;
        self.bytes.extend_from_slice(bytes);
    }

    /// The bytes of a page, if it is here.
    #[must_use]
    pub fn page(&self, number: u64) -> Option<&[u8]> {
        let bit = 1_u64.checked_shl(number as u32)?;
        if self.here & bit == 0 {
            return None;
        }
        // Mostly none is missing, which is quicker to see than to count.
        let is_dense = number < u64::from(self.here.trailing_ones());
        let before = if is_dense { number } else { (self.here & (bit - 1)).count_ones().into() };
        let start = before as usize * PAGE as usize;
        self.bytes.get(start..start + PAGE as usize)
    }

    /// Bytes that are here.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no page is here.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.here == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_are_here_are_found_between_others() {
        let mut bytes = vec![1; PAGE as usize];
        bytes.resize(2 * PAGE as usize, 2);
        let window = Window::new(&[true, false, false, true, true], bytes);
        let first = |number| window.page(number).map(|page| (page[0], page.len()));
        assert_eq!((first(0), first(1), first(3)), (Some((1, 4096)), None, Some((2, 4096))));
        assert_eq!(first(4), None, "there were no bytes for it");
        assert_eq!((first(63), first(64), first(u64::MAX)), (None, None, None));
    }
}
