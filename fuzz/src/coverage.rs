//! Which code an input reached, if the build counts it (`cargo xtask fuzz --coverage`): LLVM's inline 8-bit
//! counters, one for each edge.

use std::sync::Mutex;

/// The counters of each linked object, handed over by its constructor before `main`.
static OBJECTS: Mutex<Vec<Object>> = Mutex::new(Vec::new());

struct Object {
    start: *mut u8,
    length: usize,
}

// SAFETY: the counters are statics of the program; they are read and cleared by the fuzzing thread, which
// alone runs instrumented code then.
unsafe impl Send for Object {}

/// Called by the constructors that the instrumentation adds; never called in an ordinary build.
///
/// # Safety
/// `start..end` must be the counters of one object, valid for as long as the program runs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, end: *mut u8) {
    let length = (end as usize).saturating_sub(start as usize);
    if let Ok(mut objects) = OBJECTS.lock()
        && length > 0
        && objects.iter().all(|object| object.start != start)
    {
        objects.push(Object { start, length });
    }
}

/// What all inputs so far have reached.
pub struct Coverage {
    /// The classes of hit counts seen at each edge, a bit each.
    seen: Vec<u8>,
    edges: usize,
}

impl Coverage {
    /// Nothing reached yet.
    pub fn new() -> Self {
        let length = OBJECTS.lock().map_or(0, |objects| objects.iter().map(|object| object.length).sum());
        Coverage { seen: vec![0; length], edges: 0 }
    }

    /// Before an input.
    pub fn clear(&self) {
        self.each(|counters, _| counters.fill(0));
    }

    /// After an input: whether it reached an edge, or a number of passes over one, that no input had.
    pub fn found_new(&mut self) -> bool {
        let mut found = false;
        let mut edges = 0;
        let mut seen = std::mem::take(&mut self.seen);
        self.each(|counters, offset| {
            let Some(seen) = seen.get_mut(offset..offset + counters.len()) else { return };
            for (count, seen) in counters.iter().zip(seen) {
                if *count == 0 {
                    continue;
                }
                // 1, 2, 3, 4-7, 8-15, 16-31, 32-127, 128 and more passes, as others have found useful.
                let class = match count {
                    1..=3 => 1 << (count - 1),
                    4..=7 => 8,
                    8..=15 => 16,
                    16..=31 => 32,
                    32..=127 => 64,
                    _ => 128,
                };
                if *seen & class == 0 {
                    edges += usize::from(*seen == 0);
                    *seen |= class;
                    found = true;
                }
            }
        });
        self.seen = seen;
        self.edges += edges;
        found
    }

    /// What was reached, for the report; empty if nothing is counted.
    pub fn summary(&self) -> String {
        if self.seen.is_empty() { String::new() } else { format!(", {} edges reached", self.edges) }
    }

    fn each(&self, mut work: impl FnMut(&mut [u8], usize)) {
        let Ok(objects) = OBJECTS.lock() else { return };
        let mut offset = 0;
        for object in objects.iter() {
            // SAFETY: see `Object`; nobody else holds a reference to the counters.
            work(unsafe { std::slice::from_raw_parts_mut(object.start, object.length) }, offset);
            offset += object.length;
        }
    }
}
