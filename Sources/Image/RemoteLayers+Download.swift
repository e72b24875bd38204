import BlobStore

extension RemoteLayers {
  /// Fetches whole layers in the background if the image, or else the service's configuration, asks for it.
  public func startDownload(of image: Image) {
    guard let download = image.config.download ?? settings.download, download.enable ?? false, store.cache != nil
    else { return }
    let blobs = image.layers.compactMap { $0.blob.remote?.blob }
    let extra = max(1, download.delayExtra ?? 30)
    let delay = max(0, download.delay ?? 300) + Int64.random(in: 0..<extra)
    let rate = download.maxMBps ?? 100
    store.transfer(
      blobs,
      TransferPlan(
        fetchClass: .background, stepBytes: max(256 << 10, min(8 << 20, download.blockSize ?? 256 << 10)),
        bytesPerSecond: rate > 0 ? UInt64(clamping: rate) << 20 : nil, attempts: Int(clamping: download.tryCnt ?? 5)),
      afterMilliseconds: Int(clamping: min(delay, 1 << 32)) * 1000)
  }
}
