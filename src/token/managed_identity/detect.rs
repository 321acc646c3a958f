//! Which service vouches for this machine, decided from its environment variables alone (Microsoft Learn, "How to use
//! managed identities for Azure resources", and the order of Microsoft's own libraries). Asks no server.

use url::Url;

/// What the environment says.
pub(super) type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where a machine's token comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Azure Service Fabric, whose token service is known by the SHA-1 thumbprint of its certificate.
    ServiceFabric { endpoint: Url, secret: String, thumbprint: [u8; 20] },
    /// App Service, Functions, Container Apps, Automation.
    AppService { endpoint: Url, header: String },
    /// Azure Machine Learning.
    AzureMl { endpoint: Url, secret: String, default_client: Option<String> },
    /// A machine outside Azure, connected with Azure Arc.
    Arc { endpoint: Url },
    /// Azure Cloud Shell.
    CloudShell { endpoint: Url },
    /// Workload identity of Kubernetes.
    Kubernetes(Workload),
    /// The metadata service of a virtual machine.
    Imds { endpoint: Url },
}

/// What the workload identity webhook puts into a pod's environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Workload {
    pub(super) token_file: String,
    pub(super) client_id: Option<String>,
    pub(super) tenant: Option<String>,
    /// The authority that the webhook names; the connection's own counts.
    pub(super) authority: Option<String>,
}

const IMDS_HOST: &str = "http://169.254.169.254";
const IMDS_PATH: &str = "/metadata/identity/oauth2/token";
const ARC_ENDPOINT: &str = "http://localhost:40342/metadata/identity/oauth2/token";

impl Source {
    /// The source that `ManagedIdentitySource` names, else the first that the environment tells of.
    ///
    /// # Errors
    /// A sentence that names the variable that is missing or wrong.
    pub(super) fn find(
        wanted: Option<&str>,
        variable: Variable<'_>,
        has_arc_agent: bool,
    ) -> Result<Self, String> {
        let given = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let has = |names: &[&str]| names.iter().all(|name| given(name).is_some());
        let found = match wanted {
            Some(wanted) => wanted,
            None if has(&["IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT"]) => {
                "SERVICEFABRIC"
            }
            None if has(&["IDENTITY_ENDPOINT", "IDENTITY_HEADER"]) => "APPSERVICE",
            None if has(&["MSI_ENDPOINT", "MSI_SECRET"]) => "AZUREML",
            None if has(&["IDENTITY_ENDPOINT", "IMDS_ENDPOINT"]) || has_arc_agent => "ARC",
            None if has(&["MSI_ENDPOINT"]) => "CLOUDSHELL",
            None if has(&["AZURE_FEDERATED_TOKEN_FILE"]) => "KUBERNETES",
            None => "IMDS",
        };
        Self::of(found, &given)
    }

    fn of(name: &str, given: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        let text = |variable: &str| {
            given(variable).ok_or_else(|| {
                format!("The managed identity source {name} needs the environment variable {variable}, which is not set. Set it, or correct ManagedIdentitySource.")
            })
        };
        let address = |variable: &str| text(variable).and_then(|value| address(variable, &value));
        Ok(match name {
            "SERVICEFABRIC" => Self::ServiceFabric {
                endpoint: encrypted("IDENTITY_ENDPOINT", &text("IDENTITY_ENDPOINT")?)?,
                secret: text("IDENTITY_HEADER")?,
                thumbprint: thumbprint("IDENTITY_SERVER_THUMBPRINT", &text("IDENTITY_SERVER_THUMBPRINT")?)?,
            },
            "APPSERVICE" => {
                Self::AppService { endpoint: address("IDENTITY_ENDPOINT")?, header: text("IDENTITY_HEADER")? }
            }
            "AZUREML" => Self::AzureMl {
                endpoint: address("MSI_ENDPOINT")?,
                secret: text("MSI_SECRET")?,
                default_client: given("DEFAULT_IDENTITY_CLIENT_ID"),
            },
            "ARC" => {
                let endpoint = given("IDENTITY_ENDPOINT").unwrap_or_else(|| ARC_ENDPOINT.to_owned());
                Self::Arc { endpoint: self::address("IDENTITY_ENDPOINT", &endpoint)? }
            }
            "CLOUDSHELL" => Self::CloudShell { endpoint: address("MSI_ENDPOINT")? },
            "KUBERNETES" => Self::Kubernetes(Workload {
                token_file: text("AZURE_FEDERATED_TOKEN_FILE")?,
                client_id: given("AZURE_CLIENT_ID"),
                tenant: given("AZURE_TENANT_ID"),
                authority: given("AZURE_AUTHORITY_HOST"),
            }),
            _ => {
                let host = given("AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap_or_else(|| IMDS_HOST.to_owned());
                let mut endpoint = self::address("AZURE_POD_IDENTITY_AUTHORITY_HOST", &host)?;
                endpoint.set_path(IMDS_PATH);
                Self::Imds { endpoint }
            }
        })
    }
}

fn address(variable: &str, text: &str) -> Result<Url, String> {
    Url::parse(text.trim())
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
        .ok_or_else(|| format!("The environment variable {variable} is not an http address. Correct it."))
}

/// An address whose server proves itself: without TLS there would be nothing to compare with the thumbprint.
fn encrypted(variable: &str, text: &str) -> Result<Url, String> {
    address(variable, text).and_then(|url| match url.scheme() {
        "https" => Ok(url),
        _ => Err(format!("The environment variable {variable} must be an https address. Correct it.")),
    })
}

/// 40 hexadecimal digits, with or without colons or spaces between them.
fn thumbprint(variable: &str, text: &str) -> Result<[u8; 20], String> {
    let wrong = || {
        format!(
            "The environment variable {variable} is not a SHA-1 thumbprint of 40 hexadecimal digits. Correct it."
        )
    };
    let digits: String = text.chars().filter(|digit| !matches!(digit, ':' | ' ')).collect();
    if digits.len() != 40 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let mut thumbprint = [0; 20];
    for (at, byte) in thumbprint.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
    }
    Ok(thumbprint)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn name(wanted: Option<&str>, variables: &[&str], arc: bool) -> String {
        let variable = |name: &str| {
            let known = variables.iter().find(|known| **known == name)?;
            Some(if known.ends_with("ENDPOINT") || known.ends_with("HOST") {
                "https://127.0.0.1:9/x".to_owned()
            } else if known.ends_with("THUMBPRINT") {
                "AB:cd".repeat(10)
            } else {
                "v".to_owned()
            })
        };
        match Source::find(wanted, &variable, arc) {
            Ok(source) => format!("{source:?}").split([' ', '(']).next().unwrap().to_owned(),
            Err(message) => message,
        }
    }

    #[test]
    fn the_documented_order() {
        let everything = [
            "IDENTITY_ENDPOINT",
            "IDENTITY_HEADER",
            "IDENTITY_SERVER_THUMBPRINT",
            "MSI_ENDPOINT",
            "MSI_SECRET",
            "IMDS_ENDPOINT",
            "AZURE_FEDERATED_TOKEN_FILE",
        ];
        let without = |gone: &[&str]| {
            let left: Vec<&str> = everything.into_iter().filter(|name| !gone.contains(name)).collect();
            name(None, &left, false)
        };
        assert_eq!(without(&[]), "ServiceFabric");
        assert_eq!(without(&["IDENTITY_SERVER_THUMBPRINT"]), "AppService");
        assert_eq!(without(&["IDENTITY_HEADER"]), "AzureMl");
        assert_eq!(without(&["IDENTITY_HEADER", "MSI_SECRET"]), "Arc");
        assert_eq!(without(&["IDENTITY_ENDPOINT", "MSI_SECRET"]), "CloudShell");
        assert_eq!(without(&["IDENTITY_ENDPOINT", "MSI_ENDPOINT"]), "Kubernetes");
        assert_eq!(name(None, &[], true), "Arc");
        assert_eq!(name(None, &[], false), "Imds");
        assert_eq!(name(Some("IMDS"), &everything, true), "Imds");
        assert!(name(Some("APPSERVICE"), &[], false).contains("IDENTITY_ENDPOINT"));
    }

    #[test]
    fn service_fabric_needs_tls_and_a_thumbprint() {
        let found = |endpoint: &str, thumbprint: &str| {
            let variable = |name: &str| match name {
                "IDENTITY_ENDPOINT" => Some(endpoint.to_owned()),
                "IDENTITY_SERVER_THUMBPRINT" => Some(thumbprint.to_owned()),
                "IDENTITY_HEADER" => Some("secret".to_owned()),
                _ => None,
            };
            Source::find(None, &variable, false)
        };
        let digits = "00112233445566778899aabbccddeeff00112233";
        let Ok(Source::ServiceFabric { thumbprint, .. }) = found("https://10.0.0.4:2377/x", digits) else {
            panic!()
        };
        assert_eq!((thumbprint[0], thumbprint[10], thumbprint[19]), (0x00, 0xaa, 0x33));
        assert!(found("http://10.0.0.4:2377/x", digits).unwrap_err().contains("https"));
        for wrong in ["aabb", &digits.repeat(2), &"é".repeat(20), &digits.replace('3', "x")] {
            assert!(found("https://10.0.0.4/x", wrong).unwrap_err().contains("THUMBPRINT"), "{wrong}");
        }
    }

    #[test]
    fn addresses_come_from_the_documented_variables() {
        let pod = |name: &str| {
            (name == "AZURE_POD_IDENTITY_AUTHORITY_HOST").then(|| "http://127.0.0.1:7".to_owned())
        };
        let Source::Imds { endpoint } = Source::find(None, &pod, false).unwrap() else { panic!() };
        assert_eq!(endpoint.as_str(), "http://127.0.0.1:7/metadata/identity/oauth2/token");
    }
}
