//! What models give: the values of their rows, column by column.

use sea_orm::{ActiveModelTrait, ActiveValue, EntityTrait, Iterable as _, Value};

use super::value_bytes;

/// A column of the entity of a model.
pub(super) type Column<A> = <<A as ActiveModelTrait>::Entity as EntityTrait>::Column;

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
}

impl AsRef<[Value]> for Row {
    fn as_ref(&self) -> &[Value] {
        &self.0
    }
}

/// The columns that rows give, and their values. Every model sets the same columns; one that is NULL in each row is left out, which
/// comes to the same: no column that can be NULL has another default.
#[derive(Debug)]
pub(super) struct Given<A: ActiveModelTrait> {
    pub(super) columns: Vec<Column<A>>,
    pub(super) rows: Vec<Row>,
}

impl<A: ActiveModelTrait> Given<A> {
    pub(super) fn by(models: &[A]) -> Self {
        let is_set = |column: &Column<A>| {
            models.first().is_some_and(|model| !matches!(model.get(*column), ActiveValue::NotSet))
        };
        let (mut columns, mut rows) = (Vec::new(), vec![Row(Vec::new()); models.len()]);
        for column in Column::<A>::iter().filter(is_set) {
            let values: Vec<Value> = models.iter().map(|model| value(model, column)).collect();
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

/// What a model gives for a column.
pub(super) fn value<A: ActiveModelTrait>(model: &A, column: Column<A>) -> Value {
    match model.get(column) {
        ActiveValue::Set(value) | ActiveValue::Unchanged(value) => value,
        // No model leaves out what another one gives.
        ActiveValue::NotSet => Value::String(None),
    }
}
