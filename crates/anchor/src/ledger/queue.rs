//! Which tasks of one assignment wait to go out: a place in the inputs, and those that came back.

use std::collections::VecDeque;

/// The queue of one assignment. It may name tasks that are not queued any more; whoever takes one looks.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// The first input whose task has never gone out.
    next: u64,
    /// Inputs whose tasks came back, to go out before new ones.
    returned: VecDeque<u64>,
}

impl Queue {
    /// The next input, of `inputs` that there are.
    pub(crate) fn pop(&mut self, inputs: u64) -> Option<u64> {
        if let Some(input) = self.returned.pop_front() {
            return Some(input);
        }
        (self.next < inputs).then(|| {
            self.next += 1;
            self.next - 1
        })
    }

    /// An input's task came back.
    pub(crate) fn put_back(&mut self, input: u64) {
        self.returned.push_back(input);
    }

    /// Whether something may wait, of `inputs` that there are.
    pub(crate) fn is_empty(&self, inputs: u64) -> bool {
        self.returned.is_empty() && self.next >= inputs
    }

    /// About how many wait.
    pub(crate) fn len(&self, inputs: u64) -> u64 {
        self.returned.len() as u64 + inputs.saturating_sub(self.next)
    }

    /// Nothing waits any more, of `inputs` that there are.
    pub(crate) fn clear(&mut self, inputs: u64) {
        self.returned = VecDeque::new();
        self.next = inputs;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_back_goes_first() {
        let mut queue = Queue::default();
        assert_eq!((queue.pop(3), queue.pop(3)), (Some(0), Some(1)));
        queue.put_back(0);
        assert_eq!(queue.len(3), 2);
        assert_eq!([queue.pop(3), queue.pop(3), queue.pop(3)], [Some(0), Some(2), None]);
        assert!(queue.is_empty(3) && !queue.is_empty(4));
    }
}
