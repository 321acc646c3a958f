//! The request each source wants, as data (Microsoft Learn, "Managed identity: REST endpoint reference" and the pages of
//! each service). Sends nothing.

use url::Url;
use url::form_urlencoded::Serializer;

use super::detect::Source;
use crate::secret::Secret;

/// A request for a machine's token.
#[derive(Debug)]
pub(super) struct IdentityRequest {
    pub(super) url: Url,
    /// A header that proves that the request comes from the machine itself and was not tricked out of it.
    pub(super) header: (&'static str, Secret),
    /// A form to post; without one it is a GET.
    pub(super) form: Option<String>,
}

/// The request; `None` for sources that are asked in another way.
pub(super) fn build(source: &Source, resource: &str, client_id: Option<&str>) -> Option<IdentityRequest> {
    let metadata = ("Metadata", Secret::from("true"));
    let get = |endpoint: &Url, version: &str, id_name: &str, client_id: Option<&str>, header| {
        let mut url = endpoint.clone();
        {
            let mut query = url.query_pairs_mut();
            query.clear().append_pair("api-version", version).append_pair("resource", resource);
            if let Some(client_id) = client_id {
                query.append_pair(id_name, client_id);
            }
        }
        Some(IdentityRequest { url, header, form: None })
    };
    match source {
        Source::Imds { endpoint } => get(endpoint, "2018-02-01", "client_id", client_id, metadata),
        Source::AppService { endpoint, header } => {
            let header = ("X-IDENTITY-HEADER", Secret::from(header.as_str()));
            get(endpoint, "2019-08-01", "client_id", client_id, header)
        }
        Source::Arc { endpoint } => get(endpoint, "2020-06-01", "client_id", client_id, metadata),
        Source::AzureMl { endpoint, secret, default_client } => {
            let header = ("secret", Secret::from(secret.as_str()));
            get(endpoint, "2017-09-01", "clientid", client_id.or(default_client.as_deref()), header)
        }
        Source::CloudShell { endpoint } => {
            let form = Serializer::new(String::new()).append_pair("resource", resource).finish();
            Some(IdentityRequest { url: endpoint.clone(), header: metadata, form: Some(form) })
        }
        // Which identity it is was decided when the application was deployed; it cannot be chosen here.
        Source::ServiceFabric { endpoint, secret, .. } => {
            get(endpoint, "2019-07-01-preview", "", None, ("Secret", Secret::from(secret.as_str())))
        }
        Source::Kubernetes(_) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_source_is_asked_in_its_own_words() {
        let endpoint = Url::parse("http://127.0.0.1:9/token").unwrap();
        let resource = "https://graph.microsoft.com";
        let r = "resource=https%3A%2F%2Fgraph.microsoft.com";
        for (source, url, header, form) in [
            (
                Source::Imds { endpoint: endpoint.clone() },
                format!("?api-version=2018-02-01&{r}&client_id=id"),
                ("Metadata", "true"),
                None,
            ),
            (
                Source::AppService { endpoint: endpoint.clone(), header: "h".to_owned() },
                format!("?api-version=2019-08-01&{r}&client_id=id"),
                ("X-IDENTITY-HEADER", "h"),
                None,
            ),
            (
                Source::Arc { endpoint: endpoint.clone() },
                format!("?api-version=2020-06-01&{r}&client_id=id"),
                ("Metadata", "true"),
                None,
            ),
            (
                Source::AzureMl { endpoint: endpoint.clone(), secret: "s".to_owned(), default_client: None },
                format!("?api-version=2017-09-01&{r}&clientid=id"),
                ("secret", "s"),
                None,
            ),
            (
                Source::ServiceFabric {
                    endpoint: endpoint.clone(),
                    secret: "s".to_owned(),
                    thumbprint: [0; 20],
                },
                format!("?api-version=2019-07-01-preview&{r}"),
                ("Secret", "s"),
                None,
            ),
            (Source::CloudShell { endpoint }, String::new(), ("Metadata", "true"), Some(r.to_owned())),
        ] {
            let request = build(&source, resource, Some("id")).unwrap();
            assert_eq!(request.url.as_str(), format!("http://127.0.0.1:9/token{url}"));
            assert_eq!((request.header.0, request.header.1.expose().as_str()), header);
            assert_eq!(request.form, form);
        }
    }
}
