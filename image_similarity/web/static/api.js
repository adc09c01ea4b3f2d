// The interface of the server: /api/v1. Errors come as ApiError with the server's own words.

import { meta } from "./dom.js";
import { t } from "./texts.js";

const BASE = "/api/v1";
const csrf = meta("csrf");

export class ApiError extends Error {
  constructor(status, error) {
    super(error.hint ? `${error.message} (${error.hint})` : error.message);
    this.status = status;
    this.code = error.code;
  }
}

// A query string; of a list each value, of what is empty, null or undefined nothing.
export function query(values) {
  const found = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== null && each !== undefined && each !== "") found.append(name, each);
    }
  }
  const text = found.toString();
  return text && `?${text}`;
}

let signedOut = false;

// Whether the page is about to ask for the key again.
export const isSignedOut = () => signedOut;

async function fetched(path, request) {
  let answer;
  try {
    answer = await fetch(BASE + path, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { code: "unreachable", message: t("frame.unreachable") });
  }
  if (answer.status === 401) {
    signedOut = true;
    location.reload();
  }
  if (!answer.ok) {
    const told = await answer.json().catch(() => null);
    throw new ApiError(answer.status, told?.error ?? { code: "unexpected", message: answer.statusText });
  }
  return answer;
}

async function answered(path, request) {
  const answer = await fetched(path, request);
  return answer.status === 204 ? null : answer.json();
}

// GET; `signal` gives up what is not wanted any more.
export function get(path, values = {}, signal = undefined) {
  return answered(path + query(values), { signal });
}

// GET of what is no JSON, as a blob.
export async function blob(path, values = {}, signal = undefined) {
  return (await fetched(path + query(values), { signal })).blob();
}

// POST, PUT or DELETE with a JSON body.
export function send(method, path, body = undefined, signal = undefined) {
  const headers = { "X-CSRF-Token": csrf };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  return answered(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
}

// POST of a file as it is.
export function upload(path, file) {
  const headers = { "X-CSRF-Token": csrf, "Content-Type": "application/octet-stream" };
  return answered(path, { method: "POST", headers, body: file });
}

export function thumbnail(sha256, side = 256) {
  return `${BASE}/pictures/${sha256}/thumbnail?side=${side}`;
}
