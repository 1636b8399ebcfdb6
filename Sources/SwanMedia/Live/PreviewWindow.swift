import CMedia
public import SwanSystem

/// A window that shows frames. Only the thread that opened it uses it.
public final class PreviewWindow {
    /// What a person does in the window.
    public enum Event: Sendable, Equatable {
        /// A key from 1 to 9.
        case digit(Int)
        /// The space bar.
        case space
        /// `q`, Esc or the window's own button.
        case close
    }

    private let window: OpaquePointer
    private let width, height: Int

    /// Opens a window. Throws `deviceUnavailable` if there is no display or no SDL library.
    public init(title: String, width: Int, height: Int) throws(SwanError) {
        var opened: OpaquePointer?
        try calling("--show") {
            cm_window_open(&opened, title, Int32(clamping: width), Int32(clamping: height), $0)
        }
        guard let opened else { throw SwanError(.outOfMemory, "out of memory for a window") }
        window = opened
        (self.width, self.height) = (width, height)
    }

    deinit { cm_window_free(window) }

    /// Shows a frame, which must have the window's size.
    public func show(_ frame: VideoFrame) throws(SwanError) {
        guard frame.width == width, frame.height == height else {
            throw SwanError(.invalidArgument, "a frame does not have the size of its window")
        }
        try frame.withUnsafeBytes { (bytes) throws(SwanError) in
            let pixels = bytes.assumingMemoryBound(to: UInt8.self)
            try calling("--show") { cm_window_show(window, pixels.baseAddress, $0) }
        }
    }

    /// The next thing a person did; `nil` if there is nothing new.
    public func nextEvent() -> Event? {
        let event = cm_window_poll(window)
        switch event.kind {
        case CM_WINDOW_DIGIT: return .digit(Int(event.digit))
        case CM_WINDOW_SPACE: return .space
        case CM_WINDOW_CLOSE: return .close
        default: return nil
        }
    }

    /// Changes the title.
    public func setTitle(_ title: String) { cm_window_set_title(window, title) }
}
