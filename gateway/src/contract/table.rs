//! A version of the descriptors with the connections of one thread.

use std::{collections::BTreeSet, sync::Arc};

use transcode::Lookup;

use super::{
    methods::Methods,
    own::{self, Shared},
    pools::{Pools, at},
    served::{Found, Served},
    version::Contract,
};

/// A contract with one thread's connections to the services.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) contract: Arc<Contract>,
    served: Vec<Arc<Served>>,
    pub(super) methods: Methods,
}

impl Table {
    /// `None` where a service has no connections. `shared` says what is served now, by this contract or a later one.
    pub(super) fn of(contract: &Arc<Contract>, pools: &Pools, shared: &Shared) -> Option<Self> {
        let served = contract.routes.list().iter().zip(&contract.meters).map(|(route, meter)| {
            let (route, upstream, meter) =
                (Arc::clone(route), at(pools, &route.rpc.service)?, Arc::clone(meter));
            let rule = contract.rules.get(route.rpc.path.path()).cloned();
            let further = Arc::clone(&contract.further);
            Some(Arc::new(Served { route, upstream, meter, further, rule }))
        });
        let served: Vec<Arc<Served>> = served.collect::<Option<_>>()?;
        let methods = Methods::of(&served, &contract.rules, &own::upstream(contract, pools, shared));
        Some(Self { contract: Arc::clone(contract), served, methods })
    }

    pub(super) fn find(&self, method: &str, path: &str) -> Found {
        match self.contract.routes.find(method, path) {
            Lookup::Found(index, captures) => Found::Route(Arc::clone(&self.served[index]), captures),
            Lookup::OtherMethods(methods) => Found::OtherMethods(methods),
            Lookup::Nothing => Found::Nothing,
        }
    }

    /// The methods of all routes.
    pub(crate) fn methods_of_routes(&self) -> BTreeSet<String> {
        self.served.iter().map(|served| served.route.method.clone()).collect()
    }
}
