import Posix
import Testing

extension OnDevice {
  struct PushedImageTests {
    /// An OCI layout in `$1` of the layers behind it, with what upstream's converter says of each.
    private static let layout = #"""
      set -euo pipefail
      folder=$1
      shift
      mkdir -p "$folder/blobs/sha256"
      # add FILE TYPE: a blob of the layout; prints its descriptor.
      add() {
        local digest
        digest=$(sha256sum <"$1")
        digest=${digest%% *}
        cp "$1" "$folder/blobs/sha256/$digest"
        jq -nc --arg type "$2" --arg digest "sha256:$digest" --argjson size "$(stat -c %s "$1")" \
          '{mediaType: $type, digest: $digest, size: $size}'
      }
      type=application/vnd.oci.image
      for layer; do add "$layer" $type.layer.v1.tar; done |
        jq -sc 'map(. + {annotations: {"containerd.io/snapshot/overlaybd/blob-digest": .digest,
          "containerd.io/snapshot/overlaybd/blob-size": "\(.size)"}})' >"$folder/layers"
      jq -c '{architecture: "amd64", os: "linux", rootfs: {type: "layers", diff_ids: map(.digest)}}' "$folder/layers" \
        >"$folder/config"
      config=$(add "$folder/config" $type.config.v1+json)
      jq -c --arg type $type.manifest.v1+json --argjson config "$config" \
        '{schemaVersion: 2, mediaType: $type, config: $config, layers: .}' "$folder/layers" >"$folder/manifest"
      manifest=$(add "$folder/manifest" $type.manifest.v1+json)
      jq -nc --argjson manifest "$manifest" '{schemaVersion: 2, manifests: [$manifest]}' >"$folder/index.json"
      echo '{"imageLayoutVersion": "1.0.0"}' >"$folder/oci-layout"
      """#

    @Test("an image that skopeo pushed is served as the registry's manifest describes it")
    func pushed() throws {
      let registry = try RemoteSample.registry()
      let content = try RemoteSample.stack().content()
      let scratch = try Scratch(.tmpfs)
      let files = try RemoteSample.stackFiles()
      let outcome = try Program(["bash", "-c", Self.layout, "layout", scratch("layout")] + files).wait(seconds: 60)
      try #require(outcome.succeeded, "\(outcome)")
      let repository = "127.0.0.1:\(registry.port)/images/pushed"
      try need(
        "skopeo", "--insecure-policy", "copy", "-q", "--preserve-digests", "--dest-tls-verify=false",
        "oci:\(scratch("layout"))", "docker://\(repository):latest")

      // As the snapshotter does it.
      let manifest = "http://\(repository.replacing("/", with: "/v2/", maxReplacements: 1))/manifests/latest"
      let lines = try need(
        "bash", "-c",
        #"""
        curl -sSf -H 'Accept: application/vnd.oci.image.manifest.v1+json' "$0" | jq -r '.layers[].annotations |
          "\(.["containerd.io/snapshot/overlaybd/blob-digest"]) \(.["containerd.io/snapshot/overlaybd/blob-size"])"'
        """#, manifest)
      let layers = lines.split(separator: "\n").map { line in
        let words = line.split(separator: " ")
        return RemoteLayer(digest: String(words[0]), size: Int(words[1]) ?? 0)
      }
      try #require(layers.count == files.count, "\(lines)")
      let image = RemoteSample(raw: try RemoteSample.stack().raw, layers: layers)
      let config = try image.config(scratch, url: "http://127.0.0.1:\(registry.port)/v2/images/pushed/blobs")
      let (_, requests) = try registry.requests {
        let disk = try Warmblk.add(config, "--cache", scratch("cache"))
        try disk.reading(direct: true) { try $0.compare(with: content, "pushed by skopeo") }
        #expect(try Warmblk.row(disk).errors == 0)
        try Warmblk.del(disk)
      }
      #expect(requests.reduce(0) { $0 + $1.bytes } == image.size, "\(requests)")
      #expect(requests.allSatisfy { $0.path.hasPrefix("/v2/images/pushed/blobs/") && $0.status == 206 }, "\(requests)")
    }
  }
}
