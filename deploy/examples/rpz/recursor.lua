-- PowerDNS Recursor 4.8, `lua-config-file`: it takes no NOTIFY for these zones, so it asks each second. An answer of
-- "nothing new" is one small packet. A first transfer of millions of names takes longer than the usual
-- 20 seconds. Order of the lines is order of the zones.
local key = { tsigname = "schoolgate-rpz", tsigalgo = "hmac-sha256", tsigsecret = "REPLACE-WITH-A-KEY-FROM-KEYMGR" }
local function from(name, refresh)
  rpzPrimary("127.0.0.1:5301", name, { refresh = refresh, axfrTimeout = 300, tsigname = key.tsigname, tsigalgo = key.tsigalgo,
    tsigsecret = key.tsigsecret })
end
from("allow.edison-students.rpz", 1)
from("block.edison-students.rpz", 60)
