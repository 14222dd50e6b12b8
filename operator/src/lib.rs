//! The control plane: from resources in the cluster to bundles that proxies load.
