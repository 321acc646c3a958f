//! Which value a variable has for one run: the request's own, else the agent's. Never lets a request change what was
//! fixed when the connection was loaded.

use std::collections::BTreeMap;

use super::Connection;

impl Connection {
    /// Looks variables up for one run: `request` first, then the agent's own.
    ///
    /// # Errors
    /// A sentence, when the request sets a variable that decided a property when the connection was loaded. Such a
    /// property says where a token goes or whose it is, and a caller may choose neither.
    pub fn variable_lookup<'a>(
        &'a self,
        request: &'a BTreeMap<String, String>,
    ) -> Result<impl Fn(&str) -> Option<String> + 'a, String> {
        for (name, value) in request {
            if let Some(property) =
                self.fixed_variables.get(name).filter(|_| self.variables.get(name) != Some(value))
            {
                return Err(format!(
                    "Variable '{name}' decides {property} of connection '{}' and cannot be set by a request. \
                     Leave it out of the request, or change it in the drop-in.",
                    self.name
                ));
            }
        }
        Ok(|name: &str| request.get(name).or_else(|| self.variables.get(name)).cloned())
    }
}
