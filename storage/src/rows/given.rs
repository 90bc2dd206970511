//! What models give: the values of their rows, column by column.

use sea_orm::{EntityTrait, Iterable as _, ModelTrait, PrimaryKeyToColumn as _, PrimaryKeyTrait as _, Value};

use super::value_bytes;

/// A column of the entity of a model.
pub(super) type Column<M> = <<M as ModelTrait>::Entity as EntityTrait>::Column;

/// The values of a row.
#[derive(Debug, Clone)]
pub(super) struct Row(Vec<Value>);

impl Row {
    /// What it takes in a statement; see [`value_bytes`].
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(value_bytes).sum()
    }

    /// With another value at the end.
    pub(super) fn and(mut self, value: Value) -> Self {
        self.0.push(value);
        self
    }

    /// Without the value at this place.
    pub(super) fn leave_out(&mut self, at: usize) {
        self.0.remove(at);
    }
}

impl AsRef<[Value]> for Row {
    fn as_ref(&self) -> &[Value] {
        &self.0
    }
}

/// The columns that models give, and the values of each. Left out are the number that the database gives to a row, and a column that is
/// NULL in each row, which comes to the same: no column that can be NULL has another default.
#[derive(Debug)]
pub(super) struct Given<M: ModelTrait> {
    pub(super) columns: Vec<Column<M>>,
    pub(super) rows: Vec<Row>,
}

impl<M: ModelTrait> Given<M> {
    pub(super) fn by(models: &[&M]) -> Self {
        let (mut columns, mut rows) = (Vec::new(), vec![Row(Vec::new()); models.len()]);
        for column in Column::<M>::iter().filter(|column| !is_numbered::<M>(*column)) {
            let values: Vec<Value> = models.iter().map(|model| model.get(column)).collect();
            if values.iter().all(|value| *value == value.as_null()) {
                continue;
            }
            columns.push(column);
            for (row, value) in rows.iter_mut().zip(values) {
                row.0.push(value);
            }
        }
        Self { columns, rows }
    }
}

/// Whether the database gives its value to a column.
fn is_numbered<M: ModelTrait>(column: Column<M>) -> bool {
    type Keys<M> = <<M as ModelTrait>::Entity as EntityTrait>::PrimaryKey;
    Keys::<M>::auto_increment() && Keys::<M>::from_column(column).is_some()
}
