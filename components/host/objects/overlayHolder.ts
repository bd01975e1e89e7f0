/** A container that is in an overlay and does nothing: the overlay's namespace is on the server for as long as it runs. */
import { objectLabel, type ObjectType, stackLabel } from "../objectType";
import { sh } from "../sh";

export interface OverlayHolderSpec {
  readonly container: string;
  readonly dockerNetwork: string;
  readonly command: readonly string[];
  readonly imageId: string;
}

const patienceSeconds = 90;

const isHolder = sh`holder_is() { [ "$(docker inspect -f "{{index .Config.Labels \"${objectLabel}\"}}$2" "$1" 2>/dev/null)" = "$3" ]; }`;

export const overlayHolder: ObjectType<OverlayHolderSpec> = {
  type: "overlayHolder",
  identity: ({ container, dockerNetwork }) => [container, dockerNetwork],
  waits: true,
  ensure: ({ container, dockerNetwork, command, imageId }, { stack }) => sh`
    ${isHolder}
    name=${container}
    if ! holder_is "$name" ' {{.Image}} {{.HostConfig.NetworkMode}}' ${`${stack} ${imageId} ${dockerNetwork}`}; then
      # Or one that Pulumi's docker provider made, as flipflap did at first.
      if holder_is "$name" ${`{{index .Config.Labels "${stackLabel}"}}`} ${stack}; then docker rm -f "$name" >/dev/null; fi
      docker create --name "$name" --network ${dockerNetwork} --restart always --label ${`${objectLabel}=${stack}`} ${imageId} ${[...command]} >/dev/null
    fi
    # A server that has just joined may wait longer for its manager than docker does (20 seconds): the next try has the answer.
    end=$(($(seconds_up) + ${patienceSeconds}))
    until why=$(docker start "$name" 2>&1 >/dev/null); do
      case $why in *"attaching to network failed"* | *"Could not attach to network"*) ;; *) fail "$why" ;; esac
      [ "$(seconds_up)" -lt "$end" ] || fail "$why"
      sleep 0.5
    done
  `,
  remove: ({ container }, { stack }) => sh`
    ${isHolder}
    if holder_is ${container} '' ${stack}; then docker rm -f ${container} >/dev/null; fi
  `,
  check: ({ container }) => sh`docker inspect -f '{{.State.Running}} {{.Image}} {{.HostConfig.NetworkMode}}' ${container} 2>/dev/null || :`,
  wanted: ({ imageId, dockerNetwork }) => ({ running: true, image: imageId, dockerNetwork }),
  found: (output) => {
    const [running = "", image, dockerNetwork = ""] = output.trim().split(" ");
    return image === undefined ? undefined : { running: running === "true", image, dockerNetwork };
  },
};
