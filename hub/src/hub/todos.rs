//! The list of what an agent has to do. Some versions of Claude Code write it whole,
//! others tell of one entry at a time; clients always get all of it.

use super::Hub;
use crate::cut::cut;
use crate::wire::{Event, TodoItem};

/// Maximum number of entries of a list, and the size of each text.
const MAX_TODOS: usize = 256;
pub(crate) const MAX_TODO_BYTES: usize = 1 << 10;

/// The status of an entry that is gone.
const DELETED: &str = "deleted";

/// The list of one agent.
#[derive(Debug, Default)]
pub(crate) struct TodoList(Vec<Todo>);

/// An entry.
#[derive(Debug)]
pub(crate) struct Todo {
    /// Its id, where it has one.
    pub(crate) id: Option<String>,
    pub(crate) item: TodoItem,
}

/// A change of an entry: what is `None` stays.
#[derive(Debug, Default)]
pub(crate) struct TodoChange {
    pub(crate) content: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) active_form: Option<String>,
}

impl TodoList {
    fn items(&self) -> Vec<TodoItem> {
        self.0.iter().map(|todo| todo.item.clone()).collect()
    }

    fn place(&self, id: &str) -> Option<usize> {
        self.0.iter().position(|todo| todo.id.as_deref() == Some(id))
    }

    /// Takes a new list. The words for an entry under way are in the call that has
    /// made it, not in a list that the agent reads.
    fn replace(&mut self, mut todos: Vec<Todo>) {
        todos.truncate(MAX_TODOS);
        for todo in &mut todos {
            todo.bound();
            let known = todo.id.as_deref().and_then(|id| self.place(id));
            if let Some(known) = known.filter(|_| todo.item.active_form.is_none()) {
                todo.item.active_form.clone_from(&self.0[known].item.active_form);
            }
        }
        self.0 = todos;
    }

    fn add(&mut self, mut todo: Todo) {
        todo.bound();
        match todo.id.as_deref().and_then(|id| self.place(id)) {
            Some(known) => self.0[known] = todo,
            None if self.0.len() < MAX_TODOS => self.0.push(todo),
            None => {}
        }
    }

    /// Returns false for an entry that is not known.
    fn change(&mut self, id: &str, change: TodoChange) -> bool {
        let Some(place) = self.place(id) else { return false };
        if change.status.as_deref() == Some(DELETED) {
            self.0.remove(place);
            return true;
        }
        let todo = &mut self.0[place];
        let item = &mut todo.item;
        item.content = change.content.unwrap_or_else(|| std::mem::take(&mut item.content));
        item.status = change.status.unwrap_or_else(|| std::mem::take(&mut item.status));
        item.active_form = change.active_form.or_else(|| item.active_form.take());
        todo.bound();
        true
    }
}

impl Todo {
    fn bound(&mut self) {
        let TodoItem { content, status, active_form } = &mut self.item;
        for text in [content, status].into_iter().chain(active_form) {
            *text = cut(std::mem::take(text), MAX_TODO_BYTES);
        }
        self.id = self.id.take().map(|id| cut(id, MAX_TODO_BYTES));
    }
}

impl Hub {
    pub(crate) fn on_todos(&self, id: &str, todos: Vec<Todo>) {
        self.change_todos(id, |list| {
            list.replace(todos);
            true
        });
    }

    pub(crate) fn on_todo_added(&self, id: &str, todo: Todo) {
        self.change_todos(id, |list| {
            list.add(todo);
            true
        });
    }

    pub(crate) fn on_todo_changed(&self, id: &str, todo: &str, change: TodoChange) {
        self.change_todos(id, |list| list.change(todo, change));
    }

    /// Tells the list of an agent after a change, of which `change` returns false if
    /// there was none.
    fn change_todos(&self, id: &str, change: impl FnOnce(&mut TodoList) -> bool) {
        let mut state = self.state();
        let Some(live) = state.live.get_mut(id) else { return };
        if !change(&mut live.todos) {
            return;
        }
        let todos = live.todos.items();
        let Some(agent) = state.kept.agents.get(id) else { return };
        let (agent_id, workspace_id) = (id.to_owned(), agent.workspace_id.clone());
        self.tell(&agent.workspace_id, &Event::AgentTodos { agent_id, workspace_id, todos });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn todo(id: &str, content: &str, active_form: Option<&str>) -> Todo {
        let item = TodoItem {
            content: content.into(),
            status: "pending".into(),
            active_form: active_form.map(Into::into),
        };
        Todo { id: Some(id.into()), item }
    }

    fn shown(list: &TodoList) -> Vec<String> {
        let shown = |item: TodoItem| {
            format!("{}:{}:{}", item.content, item.status, item.active_form.unwrap_or_default())
        };
        list.items().into_iter().map(shown).collect()
    }

    #[test]
    fn entries_are_added_changed_and_deleted() {
        let mut list = TodoList::default();
        list.add(todo("1", "a", Some("doing a")));
        list.add(todo("2", "b", None));
        let status =
            |status: &str| TodoChange { status: Some(status.into()), ..TodoChange::default() };
        assert!(list.change("1", status("in_progress")));
        let words = TodoChange {
            content: Some("c".into()),
            active_form: Some("doing c".into()),
            ..TodoChange::default()
        };
        assert!(list.change("2", words));
        assert_eq!(shown(&list), ["a:in_progress:doing a", "c:pending:doing c"]);
        // A list that was read has no words for what is under way.
        list.replace(vec![todo("2", "c", None), todo("3", "d", None)]);
        assert_eq!(shown(&list), ["c:pending:doing c", "d:pending:"]);
        assert!(list.change("2", status("deleted")) && !list.change("2", status("completed")));
        assert_eq!(shown(&list), ["d:pending:"]);
    }

    #[test]
    fn a_list_is_bounded() {
        let mut list = TodoList::default();
        for number in 0..=MAX_TODOS {
            list.add(todo(&number.to_string(), &"x".repeat(5000), Some(&"y".repeat(5000))));
        }
        let items = list.items();
        assert_eq!(items.len(), MAX_TODOS);
        let is_bounded = |text: &str| text.len() < MAX_TODO_BYTES + 100;
        assert!(
            items.iter().all(|item| is_bounded(&item.content)
                && item.active_form.as_deref().is_some_and(is_bounded))
        );
    }
}
