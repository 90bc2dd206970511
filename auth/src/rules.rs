//! The rules of contracts: read from the option `(ordermesh.auth.v1.rule)` of each method, and what a caller may do by one.

use std::{collections::BTreeMap, fmt, sync::Arc};

use prost_reflect::{
    DescriptorError, DescriptorPool, DynamicMessage, Kind, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor,
};

use crate::{
    caller::{ADMIN_READ, ADMIN_WRITE, Access, Caller},
    refusal::{Check, Refusal},
};

/// The full name of the option.
const OPTION: &str = "ordermesh.auth.v1.rule";

/// Who may call a method, and whose data it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The scope that a caller needs.
    pub scope: String,
    /// Whose data it is about.
    pub data: Data,
    /// Whether the answer is a stream.
    pub streams: bool,
}

/// Whose data a method is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// Everybody's: an operator's call.
    All,
    /// That of the user whom this field of the request names, such as `order.user_id`.
    Named(String),
    /// That of the user who is stored with what the request names.
    Stored,
}

/// What is wrong with the rule of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// There is none.
    #[error("has no option (ordermesh.auth.v1.rule)")]
    Missing,
    /// Something else has the name of the option.
    #[error("has an option (ordermesh.auth.v1.rule) of another type")]
    Type,
    /// A scope is a word of visible characters (RFC 6749, section 3.3).
    #[error("has a rule without a scope, or with one that is none")]
    Scope,
    /// Every scope but an operator's is about a user's data.
    #[error("has a rule that does not say whose data it is about")]
    Data,
    /// An operator's scopes are about everybody's data.
    #[error("has a rule with an operator's scope and an owner")]
    Operator,
    /// The owner has to be a field of the request.
    #[error("has a rule whose owner is no text field of the request")]
    Owner,
}

impl Rule {
    /// Whether only operators may call by it.
    #[must_use]
    pub fn is_for_operators(&self) -> bool {
        self.data == Data::All
    }

    /// Whether it lets an operator look, and change nothing.
    #[must_use]
    pub fn only_reads(&self) -> bool {
        self.scope == ADMIN_READ
    }

    /// The rule of a method, if it has one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(method: &MethodDescriptor) -> Result<Option<Self>, RuleError> {
        let Some(option) = method.parent_pool().get_extension_by_name(OPTION) else { return Ok(None) };
        let options = method.options();
        if !options.has_extension(&option) {
            return Ok(None);
        }
        let value = options.get_extension(&option);
        let rule = value.as_message().ok_or(RuleError::Type)?;
        let (scope, owner) = (text(rule, "scope")?, text(rule, "owner")?);
        let is_visible = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        if scope.is_empty() || !scope.bytes().all(is_visible) {
            return Err(RuleError::Scope);
        }
        let stored = rule.get_field_by_name("stored_owner").and_then(|stored| stored.as_bool());
        let is_operators = scope == ADMIN_READ || scope == ADMIN_WRITE;
        let data = match (owner.as_str(), stored.unwrap_or(false)) {
            ("", false) if is_operators => Data::All,
            ("", false) => return Err(RuleError::Data),
            _ if is_operators => return Err(RuleError::Operator),
            ("", true) => Data::Stored,
            _ if !is_text_field(&method.input(), &owner) => return Err(RuleError::Owner),
            _ => Data::Named(owner),
        };
        Ok(Some(Self { scope, data, streams: method.is_server_streaming() }))
    }

    /// What a caller may do: the one place that decides it. Who has `admin:read` reads everything; nobody writes for another user.
    ///
    /// # Errors
    /// The scope that is missing, or that the subject cannot be a user.
    pub fn admit(&self, caller: &Caller) -> Result<Access, Refusal> {
        let sees_all = self.scope.ends_with(":read") && caller.has(ADMIN_READ);
        if !sees_all && !caller.has(&self.scope) {
            return Err(Refusal::Scope(self.scope.clone()));
        }
        match self.data {
            Data::All => Ok(Access::All),
            _ if sees_all => Ok(Access::All),
            Data::Named(_) | Data::Stored => match ordermesh::rules::user_id(&caller.subject) {
                Ok(()) => Ok(Access::Own(Arc::clone(&caller.subject))),
                Err(_) => Err(Refusal::Token(Check::Subject)),
            },
        }
    }
}

fn text(rule: &DynamicMessage, name: &str) -> Result<String, RuleError> {
    let value = rule.get_field_by_name(name).ok_or(RuleError::Type)?;
    value.as_str().map(str::to_owned).ok_or(RuleError::Type)
}

fn is_text_field(request: &MessageDescriptor, path: &str) -> bool {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    let Some(field) = request.get_field_by_name(name).filter(|field| !field.is_list()) else { return false };
    match (field.kind(), rest) {
        (Kind::String, None) => true,
        (Kind::Message(inner), Some(rest)) => is_text_field(&inner, rest),
        _ => false,
    }
}

fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// The rule of every method of some contracts.
#[derive(Debug, Clone, Default)]
pub struct Rules(BTreeMap<String, Rule>);

/// Why contracts have no rules that can be followed: every method at fault is named.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// They are no descriptors.
    #[error("not a complete set of descriptors: {0}")]
    Descriptors(#[from] DescriptorError),
    /// Methods without a rule, or with one that cannot be followed.
    #[error("{}", lines(.0))]
    Methods(Vec<(String, RuleError)>),
}

fn lines(methods: &[(String, RuleError)]) -> impl fmt::Display {
    methods.iter().map(|(method, error)| format!("{method} {error}")).collect::<Vec<_>>().join("; ")
}

impl Rules {
    /// The rules of every method of encoded `google.protobuf.FileDescriptorSet`s.
    ///
    /// # Errors
    /// Every method without a rule that can be followed.
    pub fn of(sets: &[&[u8]]) -> Result<Self, RulesError> {
        let (mut all, mut wrong) = (Self::default(), Vec::new());
        for set in sets {
            let pool = DescriptorPool::decode(*set)?;
            let services: Vec<ServiceDescriptor> = pool.services().collect();
            let (rules, errors) = Self::as_far_as_given(&services);
            wrong.extend(errors);
            let methods = services.iter().flat_map(ServiceDescriptor::methods);
            let unruled = methods.filter(|method| rules.get(&path(method)).is_none());
            wrong.extend(unruled.map(|method| (method.full_name().to_owned(), RuleError::Missing)));
            all.0.extend(rules.0);
        }
        // One that cannot be followed is missing as well.
        wrong.sort_by(|one, other| one.0.cmp(&other.0));
        wrong.dedup_by(|second, first| second.0 == first.0);
        if wrong.is_empty() { Ok(all) } else { Err(RulesError::Methods(wrong)) }
    }

    /// The rules of those methods of services that have one, and by its full name each method whose rule cannot be followed.
    pub fn as_far_as_given<'s>(
        services: impl IntoIterator<Item = &'s ServiceDescriptor>,
    ) -> (Self, Vec<(String, RuleError)>) {
        let (mut rules, mut wrong) = (BTreeMap::new(), Vec::new());
        for method in services.into_iter().flat_map(ServiceDescriptor::methods) {
            match Rule::of(&method) {
                Ok(rule) => rules.extend(rule.map(|rule| (path(&method), rule))),
                Err(error) => wrong.push((method.full_name().to_owned(), error)),
            }
        }
        (Self(rules), wrong)
    }

    /// The rule of the method with this path, such as `/ordermesh.orders.v1.OrdersService/GetOrder`.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Rule> {
        self.0.get(path)
    }

    /// The same rules, with another one for this method.
    #[must_use]
    pub fn with(mut self, path: &str, rule: Rule) -> Self {
        self.0.insert(path.to_owned(), rule);
        self
    }

    /// Every method by its path, and its rule.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Rule)> {
        self.0.iter().map(|(path, rule)| (path.as_str(), rule))
    }
}
