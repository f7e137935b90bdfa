//! Colours, only if the output is a terminal.

use crossterm::style::Stylize;
use std::io::IsTerminal;

/// Paints text, or leaves it as it is when the output is not a terminal or `NO_COLOR` is set.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    enabled: bool,
}

impl Paint {
    /// For standard output.
    pub fn stdout() -> Paint {
        Paint::new(std::io::stdout().is_terminal())
    }

    /// For standard error.
    pub fn stderr() -> Paint {
        Paint::new(std::io::stderr().is_terminal())
    }

    fn new(terminal: bool) -> Paint {
        // https://no-color.org: set to anything but the empty string.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Paint { enabled: terminal && !refused }
    }

    /// Whether colours are shown at all.
    pub fn enabled(self) -> bool {
        self.enabled
    }

    /// Something is wrong.
    pub fn bad(self, text: &str) -> String {
        if self.enabled { text.red().bold().to_string() } else { text.to_owned() }
    }

    /// A heading.
    pub fn heading(self, text: &str) -> String {
        if self.enabled { text.bold().to_string() } else { text.to_owned() }
    }

    /// Of minor interest.
    pub fn dim(self, text: &str) -> String {
        if self.enabled { text.dim().to_string() } else { text.to_owned() }
    }
}
