/** Waiting for what the agent says of a file: that it is done as the file is now. */
import { type Script, sh } from "../sh";

/** Makes the function told FILE STATUS KEY WORDS: the status has the file's hash under that key, and no error. All calls share the time. */
export const awaitStatus = (tenths: number): Script => sh`
  left=${tenths}
  told() {
    hash=$(sha256sum <"$1"); hash=\${hash%% *}
    until grep -qs "\"$3\":\"$hash\"" "$2" && ! grep -q '"error"' "$2"; do
      left=$((left - 1))
      if [ "$left" -le 0 ]; then
        reason="the agent has said nothing of it: docker logs ff-agent"
        if grep -qs '"error"' "$2"; then reason=$(sed -n 's/.*"error":"\(.*\)".*/\1/p' "$2"); fi
        fail "$4: $reason"
      fi
      sleep 0.1
    done
  }
`;
