//! What the server does in one step. Lua 5.1, as every server since 2.6 has it.
//!
//! Records of the feed are numbered without a gap: `N-0`, each with the mark of who made it. That
//! is what tells a process that it has missed something, and that a server has lost something it
//! had acknowledged: what was last seen is not there any more.

/// `EVAL COMMIT 1 PREFIX MARK KNOWN LENGTH RECORD (OP TABLE KEY VALUE SCORE)…`; answers the number
/// of the last record. All changes or none: Redis refuses a script for want of memory before it
/// runs, and nothing in this one fails half-way.
pub(super) const COMMIT: &str = r"
local p, feed = KEYS[1], KEYS[1] .. ':feed'
local last = redis.call('XREVRANGE', feed, '+', '-', 'COUNT', 1)
local n = last[1] and tonumber(string.match(last[1][1], '^%d+')) or 0
if n < tonumber(ARGV[2]) then return redis.error_reply('LOST what was seen') end
for i = 5, #ARGV, 5 do
  local op, rows, key, value, score = ARGV[i], p .. ':' .. ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local ends = rows .. ':ends'
  if op == 'put' or (op == 'update' and redis.call('HEXISTS', rows, key) == 1) then
    redis.call('HSET', rows, key, value)
    redis.call('ZADD', ends, score, key)
  elseif op == 'extend' then
    local old = redis.call('HGET', rows, key)
    if old then
      redis.call('HSET', rows, key, value .. string.sub(old, #value + 1))
      redis.call('ZADD', ends, score, key)
    end
  elseif op == 'delete' then
    redis.call('HDEL', rows, key)
    redis.call('ZREM', ends, key)
  elseif op == 'prune' then
    for _, old in ipairs(redis.call('ZRANGEBYSCORE', ends, '-inf', score)) do
      redis.call('HDEL', rows, old)
    end
    redis.call('ZREMRANGEBYSCORE', ends, '-inf', score)
  end
end
if ARGV[4] ~= '' then
  n = n + 1
  redis.call('XADD', feed, 'MAXLEN', '~', ARGV[3], string.format('%.0f-0', n), 'm', ARGV[1], 'c', ARGV[4])
end
return n
";

/// `EVAL OPEN 1 PREFIX FORMAT KNOWN KNOWN-MARK MARK RECORD`; answers the number of the last record
/// and its mark, and 1 where something was lost. Then all sessions are ended, since those that
/// were revoked may have come back, and RECORD says so.
pub(super) const OPEN: &str = r"
local p, feed = KEYS[1], KEYS[1] .. ':feed'
local format = redis.call('GET', p .. ':format')
if not format then
  redis.call('SET', p .. ':format', ARGV[1])
elseif format ~= ARGV[1] then
  return redis.error_reply('FORMAT ' .. format)
end
local function number(entry) return tonumber(string.match(entry[1], '^%d+')) end
local function mark(entry)
  for i = 1, #entry[2], 2 do if entry[2][i] == 'm' then return entry[2][i + 1] end end
  return ''
end
local last = redis.call('XREVRANGE', feed, '+', '-', 'COUNT', 1)[1]
local known = tonumber(ARGV[2])
if known > 0 then
  local first = redis.call('XRANGE', feed, '-', '+', 'COUNT', 1)[1]
  local seen = redis.call('XRANGE', feed, ARGV[2] .. '-0', ARGV[2] .. '-0')[1]
  local trimmed = first and number(first) > known
  if not trimmed and not (seen and mark(seen) == ARGV[3]) then
    local n = math.max(last and number(last) or 0, known) + 1
    redis.call('DEL', p .. ':sessions', p .. ':sessions:ends')
    redis.call('XADD', feed, string.format('%.0f-0', n), 'm', ARGV[4], 'c', ARGV[5])
    return {n, ARGV[4], 1}
  end
end
if not last then return {0, '', 0} end
return {number(last), mark(last), 0}
";
