#!/usr/bin/env bash
# mkdocs counts its warnings by what is logged, so that --quiet makes --strict let everything pass.
#
# Versions: mkdocs 1.6.1.
# Expected: --strict fails the build for a dead link, and --quiet only prints less.
# Seen: with --quiet, before or after it, --strict ends with status 0, and the page is built with the dead link.
. "$(dirname "$0")/lib/finding.bash"
with_python mkdocs==1.6.1
mkdir -p "$scratch/site/docs"
printf 'site_name: a site\n' >"$scratch/site/mkdocs.yml"
printf '# A page\n\n[a link](gone.md)\n' >"$scratch/site/docs/index.md"
for options in "--strict" "--quiet --strict" "--strict --quiet"; do
  rm -rf "$scratch/site/site"
  status=0
  # shellcheck disable=SC2086 # several words
  (cd "$scratch/site" && "$python" -m mkdocs build $options >/dev/null 2>&1) || status=$?
  built=no
  ! grep -qs 'href="gone.md"' "$scratch/site/site/index.html" || built=yes
  echo "$options: status $status, built with the dead link: $built"
done >"$scratch/out"
seen "$scratch/out" <<'RECORDED'
--strict: status 1, built with the dead link: yes
--quiet --strict: status 0, built with the dead link: yes
--strict --quiet: status 0, built with the dead link: yes
RECORDED
