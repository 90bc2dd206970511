//! Files that are read one by one, so that one which makes the library panic takes no other with it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use prost_reflect::{DescriptorPool, MessageDescriptor};

/// The files that could be read.
#[derive(Debug, Default)]
pub(super) struct Pool {
    pool: DescriptorPool,
    files: Vec<Bytes>,
}

impl Pool {
    /// Reads one more file of this name.
    ///
    /// # Errors
    /// Why it cannot be used. The others stay as they were.
    pub(super) fn add(&mut self, name: &str, file: Bytes) -> Result<(), String> {
        self.add_by(file, |pool, file| {
            pool.decode_file_descriptor_proto(file).map_err(|error| error.to_string())?;
            // What is looked up later is looked up once here, where a panic harms nobody.
            pool.get_file_by_name(name).into_iter().for_each(|file| file.messages().for_each(look));
            Ok(())
        })
    }

    fn add_by(
        &mut self,
        file: Bytes,
        read: impl FnOnce(&mut DescriptorPool, Bytes) -> Result<(), String>,
    ) -> Result<(), String> {
        // Nobody knows what a library makes of descriptors that no compiler has made.
        let outcome = catch_unwind(AssertUnwindSafe(|| read(&mut self.pool, file.clone())));
        if let Ok(outcome) = outcome {
            // One that is refused changes nothing.
            return outcome.inspect(|()| self.files.push(file));
        }
        let mut pool = DescriptorPool::new();
        for file in &self.files {
            // It could be read before.
            let _read = pool.decode_file_descriptor_proto(file.clone());
        }
        self.pool = pool;
        Err("it made its reader panic".to_owned())
    }

    /// What they describe.
    pub(super) fn into_inner(self) -> DescriptorPool {
        self.pool
    }
}

fn look(message: MessageDescriptor) {
    if message.is_map_entry() {
        let _of_the_map = (message.map_entry_key_field(), message.map_entry_value_field());
    }
    for field in message.fields() {
        let _as_it_is_bound = (field.kind(), field.is_map(), field.is_list());
    }
    message.child_messages().for_each(look);
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::{DescriptorProto, FileDescriptorProto};

    use super::*;

    fn file(name: &str) -> Bytes {
        let message = DescriptorProto { name: Some(format!("In{name}")), ..DescriptorProto::default() };
        let file = FileDescriptorProto {
            name: Some(name.to_owned()),
            message_type: vec![message],
            ..FileDescriptorProto::default()
        };
        file.encode_to_vec().into()
    }

    #[test]
    fn one_that_makes_its_reader_panic_takes_no_other_with_it() {
        let mut pool = Pool::default();
        assert_eq!(pool.add("A", file("A")), Ok(()));
        let panics = pool.add_by(file("B"), |pool, file| {
            pool.decode_file_descriptor_proto(file).expect("it is read");
            panic!("in the middle of it");
        });
        assert!(panics.is_err_and(|reason| reason.contains("panic")));
        assert!(pool.add("x", Bytes::from_static(b"\xff")).is_err());
        assert_eq!(pool.add("C", file("C")), Ok(()));
        let pool = pool.into_inner();
        let has = |name| pool.get_message_by_name(name).is_some();
        assert_eq!((has("InA"), has("InB"), has("InC")), (true, false, true));
    }
}
