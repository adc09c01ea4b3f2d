// The hits of the search that led to the page "compare", which goes from one to the next; kept in this window, by case.

import { meta } from "./dom.js";

const NAME = `image_similarity.hits.${meta("case")}`;
const HEX = /^[0-9a-f]{64}$/;

export function keepHits(query, sha256s) {
  sessionStorage.setItem(NAME, JSON.stringify({ query, hits: [...new Set(sha256s)] }));
}

// Those of this query, as SHA-256; of another query they would be no hits.
export function hitsOf(query) {
  try {
    const kept = JSON.parse(sessionStorage.getItem(NAME));
    return kept?.query === query && Array.isArray(kept.hits) ? kept.hits.filter((each) => HEX.test(each)) : [];
  } catch {
    return [];
  }
}
