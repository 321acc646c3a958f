//! Placeholder of the variable lookup: the connection stage replaces this file.

use std::collections::BTreeMap;

use super::Connection;

impl Connection {
    /// Looks variables up for one run.
    ///
    /// # Errors
    /// None here.
    pub fn variable_lookup<'a>(
        &'a self,
        request: &'a BTreeMap<String, String>,
    ) -> Result<impl Fn(&str) -> Option<String> + 'a, String> {
        Ok(|name: &str| request.get(name).or_else(|| self.variables.get(name)).cloned())
    }
}
