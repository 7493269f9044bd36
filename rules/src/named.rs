//! Things by their names, sorted. Knows nothing of what they are.
//!
//! For maps that are filled once and of which a workspace has thousands: a B-tree has room for eleven in every node, and most
//! packages have one target.

use std::sync::Arc;

/// A sorted map from names. Looking up is fast, adding one by one is for few.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named<T>(Vec<(Arc<str>, T)>);

impl<T> Named<T> {
    /// What has this name.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.place(name).ok().map(|place| &self.0[place].1)
    }

    /// What has this name, with the name.
    pub fn get_key_value(&self, name: &str) -> Option<(&Arc<str>, &T)> {
        self.place(name).ok().map(|place| (&self.0[place].0, &self.0[place].1))
    }

    /// What has this name, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut T> {
        self.place(name).ok().map(|place| &mut self.0[place].1)
    }

    /// Whether something has this name.
    pub fn contains_key(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// Adds something; what had its name before is returned.
    pub fn insert(&mut self, name: Arc<str>, thing: T) -> Option<T> {
        match self.place(&name) {
            Ok(place) => Some(std::mem::replace(&mut self.0[place].1, thing)),
            Err(place) => {
                self.0.insert(place, (name, thing));
                None
            }
        }
    }

    /// All of them, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Arc<str>, &T)> {
        self.0.iter().map(|(name, thing)| (name, thing))
    }

    /// The names, sorted.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.0.iter().map(|(name, _)| name)
    }

    /// The things, sorted by name.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &T> {
        self.0.iter().map(|(_, thing)| thing)
    }

    /// The things, sorted by name, to be changed.
    pub fn values_mut(&mut self) -> impl ExactSizeIterator<Item = &mut T> {
        self.0.iter_mut().map(|(_, thing)| thing)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(other, _)| (**other).cmp(name))
    }
}

impl<T> Default for Named<T> {
    fn default() -> Named<T> {
        Named(Vec::new())
    }
}

impl<T> From<Vec<(Arc<str>, T)>> for Named<T> {
    /// Of several with one name the last stays.
    fn from(mut things: Vec<(Arc<str>, T)>) -> Named<T> {
        things.sort_by(|a, b| a.0.cmp(&b.0));
        things.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                std::mem::swap(next, kept);
            }
            same
        });
        things.shrink_to_fit();
        Named(things)
    }
}

impl<T> FromIterator<(Arc<str>, T)> for Named<T> {
    /// Of several with one name the last stays.
    fn from_iter<I: IntoIterator<Item = (Arc<str>, T)>>(things: I) -> Named<T> {
        Named::from(Vec::from_iter(things))
    }
}

impl<T> IntoIterator for Named<T> {
    type Item = (Arc<str>, T);
    type IntoIter = std::vec::IntoIter<(Arc<str>, T)>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a, T> IntoIterator for &'a Named<T> {
    type Item = (&'a Arc<str>, &'a T);
    type IntoIter = std::iter::Map<std::slice::Iter<'a, (Arc<str>, T)>, fn(&'a (Arc<str>, T)) -> Self::Item>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(|(name, thing)| (name, thing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(pairs: &[(&str, u32)]) -> Named<u32> {
        pairs.iter().map(|(name, number)| (Arc::from(*name), *number)).collect()
    }

    fn list(named: &Named<u32>) -> Vec<(&str, u32)> {
        named.iter().map(|(name, number)| (&**name, *number)).collect()
    }

    #[test]
    fn is_sorted_and_the_last_of_a_name_stays() {
        let mut things = named(&[("c", 1), ("a", 2), ("c", 3), ("b", 4)]);
        assert_eq!(list(&things), [("a", 2), ("b", 4), ("c", 3)]);
        assert_eq!(things.insert("b".into(), 5), Some(4));
        assert_eq!(things.insert("aa".into(), 6), None);
        assert_eq!(list(&things), [("a", 2), ("aa", 6), ("b", 5), ("c", 3)]);
        assert_eq!((things.get("c"), things.get("d"), things.contains_key("aa")), (Some(&3), None, true));
    }
}
