//! Errors as people are told of them.

/// What an error says. An API server's refusal is its own sentence, without the object that it came in.
pub fn of_kube(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

/// The same of any error.
pub fn of_any(error: &anyhow::Error) -> String {
    error.downcast_ref().map_or_else(|| error.to_string(), of_kube)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;
    use crate::deliver::DeliverError;

    #[test]
    fn a_refusal_is_one_sentence() {
        let text = "configmaps \"orders-deployment-3\" is forbidden: exceeded quota: full";
        let refusal = || kube::Error::Api(Status::failure(text, "Forbidden").with_code(403).boxed());
        assert!(refusal().to_string().contains("Status {"), "what it is without this");
        assert_eq!(of_any(&anyhow::Error::from(refusal())), text);
        assert_eq!(of_any(&anyhow::Error::from(DeliverError::from(refusal()))), text);
        assert_eq!(of_any(&anyhow::anyhow!("another")), "another");
    }
}
