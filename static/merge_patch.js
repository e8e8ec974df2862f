// The difference of two JSON objects as a JSON Merge Patch (RFC 7396). Pure.

import { isObject } from "./text.js";

/** The patch that makes `after` of `before`: what is new or another, and `null` for what is gone. */
export function mergePatch(before, after) {
  const patch = {};
  for (const name of Object.keys(before)) if (!Object.hasOwn(after, name)) patch[name] = null;
  for (const [name, value] of Object.entries(after)) {
    const old = before[name];
    if (isObject(value) && isObject(old)) {
      const inner = mergePatch(old, value);
      if (Object.keys(inner).length > 0) patch[name] = inner;
    } else if (JSON.stringify(value) !== JSON.stringify(old)) {
      patch[name] = value;
    }
  }
  return patch;
}
