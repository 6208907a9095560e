/* The search of the site: what lists everything comes after the pages that explain it. */
var Scorer = {
  score: ([docname, title, anchor, descr, score]) =>
    /^(CHANGELOG|CONTRIBUTING|docs\/claims|docs\/errata|figures\/README)$/.test(docname) ? score - 1000 : score,
  // The rest is as Sphinx has it.
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
