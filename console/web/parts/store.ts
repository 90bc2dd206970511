// A value that components follow.
import { useEffect, useState } from 'preact/hooks';

/** A value, and who wants to know that it has changed. */
export class Store<Value> {
  private readonly followers = new Set<() => void>();

  constructor(private value: Value) {}

  get(): Value {
    return this.value;
  }

  set(value: Value): void {
    if (value === this.value) return;
    this.value = value;
    for (const follower of [...this.followers]) follower();
  }

  update(change: (value: Value) => Value): void {
    this.set(change(this.value));
  }

  /** Calls `follower` after each change, until what it returns is called. */
  follow(follower: () => void): () => void {
    this.followers.add(follower);
    return () => void this.followers.delete(follower);
  }
}

/** The value of a store; the component is drawn anew when it changes. */
export function useStore<Value>(store: Store<Value>): Value {
  const [, redraw] = useState({});
  const value = store.get();
  useEffect(() => {
    // It may have changed since the component was drawn.
    if (store.get() !== value) redraw({});
    return store.follow(() => redraw({}));
  }, [store]);
  return value;
}
