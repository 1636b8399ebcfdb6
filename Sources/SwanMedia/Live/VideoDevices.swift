import CMedia
import Foundation
import SwanSystem

/// The cameras and other video devices of this machine (Video4Linux).
package enum VideoDevices {
    /// A device file and the device's name.
    package struct Entry: Sendable, Equatable {
        /// Such as `/dev/video0`.
        package let path: String
        /// Such as `Integrated Camera`.
        package let name: String
    }

    /// The devices that the kernel lists, by number.
    ///
    /// A camera has further entries for its metadata, which are left out.
    package static func all(in folder: String = "/sys/class/video4linux") -> [Entry] {
        func text(_ file: String) -> String? {
            guard let data = FileManager.default.contents(atPath: "\(folder)/\(file)") else {
                return nil
            }
            return String(decoding: data, as: UTF8.self)
                .trimmingCharacters(in: .whitespacesAndNewlines).printable(limit: 80)
        }
        return Folder.names(in: folder)
            .compactMap { name in
                name.hasPrefix("video") ? Int(name.dropFirst(5)) : nil
            }
            .sorted()
            .filter { text("video\($0)/index") ?? "0" == "0" }
            .map { Entry(path: "/dev/video\($0)", name: text("video\($0)/name") ?? "unnamed") }
    }

    /// A sentence for people who named a device that does not exist.
    package static func sentence(_ devices: [Entry]) -> String {
        guard !devices.isEmpty else { return "this machine has no video devices" }
        return "there are "
            + devices.map { "\($0.path) (\($0.name))" }.joined(separator: ", ")
    }
}

extension VideoDevice {
    /// Throws if the device cannot be used, with the devices that exist if this one does not.
    func check(writing: Bool) throws(SwanError) {
        do throws(SwanError) {
            try calling(path) { cm_device_check(path, writing, $0) }
        } catch {
            guard error.code == .noSuchFile else { throw error }
            throw SwanError(
                .noSuchFile,
                "\(error.message); \(VideoDevices.sentence(VideoDevices.all()))",
                cause: error
            )
        }
    }
}
