"""How a report looks, and the search in it. Both are hashed into the page's policy, so nothing else runs or styles."""

HUES = (212, 152, 28, 268, 340, 60, 184, 4)
"""Of the treemap's modules, by turns."""

STYLE = """
:root{color-scheme:light dark;--text:#1c2128;--soft:#57606a;--link:#0550ae;--back:#fff;--card:#f5f7f9;--line:#d0d7de;
--bad:#a40e26;--good:#116329;--cell:60% 86%}
@media(prefers-color-scheme:dark){
:root{--text:#e6e9ee;--soft:#a5adb8;--link:#84bcff;--back:#14171c;--card:#1d2229;--line:#3a424d;
--bad:#ff9492;--good:#7ee787;--cell:38% 24%}}
*{box-sizing:border-box}[hidden]{display:none!important}
body{margin:0 auto;max-width:80rem;padding:1.5rem 1rem 3rem;background:var(--back);color:var(--text);
font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.6rem;margin:0}h2{font-size:1.2rem;margin:2rem 0 .75rem}
a{color:var(--link)}:focus-visible{outline:3px solid var(--link);outline-offset:2px}
p{margin:.25rem 0}.soft{color:var(--soft)}.bad{color:var(--bad)}.good{color:var(--good)}
nav ul{list-style:none;margin:.75rem 0 0;padding:0;display:flex;flex-wrap:wrap;gap:.25rem 1.25rem}
code{font:.875rem/1.5 ui-monospace,monospace}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9375rem}
th,td{text-align:left;vertical-align:top;padding:.3rem .75rem .3rem 0;border-bottom:1px solid var(--line)}
thead th{color:var(--soft);font-weight:600}tbody th{font-weight:600}
.n{text-align:right;white-space:nowrap}
th small{display:block;font-weight:400;color:var(--soft)}
#search{margin:0 0 .75rem}#search label{display:block;font-weight:600}
#search input{font:inherit;color:inherit;background:var(--card);border:1px solid var(--soft);border-radius:.375rem;
padding:.4rem .6rem;width:100%;max-width:32rem}
#map{position:relative;width:100%;aspect-ratio:2/1;overflow:hidden}
#map div{position:absolute;overflow:hidden;border:1px solid var(--back);padding:.1rem .25rem;font-size:.75rem;
line-height:1.2;color:var(--text);white-space:nowrap;text-overflow:ellipsis}
.key{list-style:none;margin:.5rem 0 0;padding:0;display:flex;flex-wrap:wrap;gap:.25rem 1.25rem}
.key i{display:inline-block;width:1em;height:1em;margin-right:.4em;vertical-align:-.1em;border:1px solid var(--soft)}
@media(max-width:48rem){
#map{aspect-ratio:3/4}
.cards thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
.cards tbody,.cards tr,.cards th{display:block}
.cards tr{padding:.4rem 0;border-bottom:1px solid var(--line)}
.cards th,.cards td{border:0;padding:0}
.cards td{display:inline;white-space:normal}.cards td:not(:empty)+td:not(:empty)::before{content:" \\00b7  "}
.cards td[data-l]:not(:empty)::after{content:" " attr(data-l);color:var(--soft)}}
@media print{#search,nav{display:none}}
""".strip()

SCRIPT = """
(()=>{"use strict";
const box=document.getElementById("q"),count=document.getElementById("count"),list=document.getElementById("list");
const rows=[...list.tBodies[0].rows],texts=rows.map(row=>row.textContent.toLowerCase());
const show=()=>{const words=box.value.toLowerCase().split(/\\s+/).filter(Boolean);let found=0;
rows.forEach((row,i)=>{const hit=words.every(word=>texts[i].includes(word));row.hidden=!hit;found+=hit});
count.textContent=`${found} of ${rows.length} packages`};
box.addEventListener("input",show);
box.addEventListener("keydown",event=>{
if(event.key==="Escape"){box.value="";show();event.preventDefault()}
if(event.key==="Enter"){event.preventDefault();const row=rows.find(each=>!each.hidden);
if(row){row.tabIndex=-1;row.focus()}}});
list.addEventListener("keydown",event=>{if(event.key==="Escape")box.focus()});
document.getElementById("search").hidden=false;show()})();
""".strip()
