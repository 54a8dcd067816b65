cd /tmp/cw; export HOST_FILE=/tmp/cw/hostd/file HOST_DIR=/tmp/cw/hostd HOST_PORT=18080 HOST_SOCKET=/tmp/cw/hostd/sock
node srv.js & SP=$!; python3 -c '
import socket,time
s=socket.socket(socket.AF_UNIX);s.bind("/tmp/cw/hostd/sock");s.listen(9)
t=socket.socket(socket.AF_UNIX);t.bind("\0proxward-probe");t.listen(9)
time.sleep(8)' & sleep 0.5
mkdir -p dir/scratch
CELL=/tmp/cw/dir SCRATCH=/tmp/cw/dir/scratch ./probe 9</tmp/cw/hostd > out.txt 2>err.txt
echo "control refused:"; grep -v did out.txt
P=/tmp/target-cell/debug/proxward
for m in privileged unprivileged; do
$P cell run --mode $m --dir dir --env CELL=/cell --env SCRATCH=/cell/scratch --env HOST_FILE=$HOST_FILE --env HOST_DIR=$HOST_DIR --env HOST_PORT=18080 --env HOST_SOCKET=$HOST_SOCKET -- ./probe > in.$m.txt; echo "$m rc=$? did:"; wc -l in.$m.txt; grep did in.$m.txt; cut -f3 in.$m.txt | sort | uniq -c
done; for o in --x32 --int80; do $P cell run --dir dir -- ./probe $o; echo $?; done
kill $SP; rm -f hostd/sock
