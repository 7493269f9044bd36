//! Parts of a page that are covered.

use super::{Point, Size};

/// A rectangle.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Area {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

impl Area {
    pub(super) fn around(middle: Point, size: Size) -> Area {
        let (x, y) = (size.width / 2.0, size.height / 2.0);
        Area { left: middle.x - x, top: middle.y - y, right: middle.x + x, bottom: middle.y + y }
    }

    /// The smallest area that covers both.
    pub(super) fn with(self, other: Area) -> Area {
        Area {
            left: self.left.min(other.left),
            top: self.top.min(other.top),
            right: self.right.max(other.right),
            bottom: self.bottom.max(other.bottom),
        }
    }

    pub(super) fn meets(self, other: Area) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }
}
