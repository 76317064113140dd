using System.Globalization;

namespace CarServer.State.Engine.Basics;

/// <summary>Arithmetic on double-precision numbers: <c>+ - * / % ^</c> (or <c>**</c>), brackets, the usual functions, <c>pi</c> and <c>e</c>. The power binds tightest and from the right.</summary>
internal ref struct Calculator
{
    private readonly ReadOnlySpan<char> _text;
    private int _at;
    private int _depth;

    private Calculator(ReadOnlySpan<char> text) => _text = text;

    /// <exception cref="BasicException">It is no expression, or has no finite result.</exception>
    public static double Evaluate(string expression)
    {
        if (expression.Length > BasicLimits.MaxExpressionChars) throw new BasicException($"an expression may have at most {BasicLimits.MaxExpressionChars} characters");
        var calculator = new Calculator(expression);
        double result = calculator.Sum();
        if (calculator.Next != '\0') throw calculator.Unexpected();
        return double.IsFinite(result) ? result : throw new BasicException("the result is not a finite number");
    }

    /// <summary>The character that decides what comes; NUL at the end.</summary>
    private char Next
    {
        get
        {
            while (_at < _text.Length && char.IsWhiteSpace(_text[_at])) _at++;
            return _at < _text.Length ? _text[_at] : '\0';
        }
    }

    private double Sum()
    {
        double sum = Product();
        while (Next is '+' or '-') sum = _text[_at++] == '+' ? sum + Product() : sum - Product();
        return sum;
    }

    private double Product()
    {
        double product = Signed();
        while (Next is '*' or '/' or '%')
        {
            char operation = _text[_at++];
            double right = Signed();
            if (operation != '*' && right == 0) throw new BasicException("division by zero");
            product = operation switch { '*' => product * right, '/' => product / right, _ => product % right };
        }
        return product;
    }

    private double Signed()
    {
        if (++_depth > BasicLimits.MaxExpressionDepth) throw new BasicException($"brackets and signs may be nested {BasicLimits.MaxExpressionDepth} deep");
        char sign = Next;
        double value;
        if (sign is '-' or '+')
        {
            _at++;
            value = sign == '-' ? -Signed() : Signed();
        }
        else
        {
            value = Power();
        }
        _depth--;
        return value;
    }

    private double Power()
    {
        double value = Operand();
        if (Next != '^' && !(Next == '*' && _at + 1 < _text.Length && _text[_at + 1] == '*')) return value;
        _at += Next == '^' ? 1 : 2;
        return Math.Pow(value, Signed());
    }

    private double Operand()
    {
        char next = Next;
        if (char.IsAsciiDigit(next) || next == '.') return Number();
        if (next == '(') return Bracket();
        if (!char.IsAsciiLetter(next)) throw Unexpected();
        int start = _at;
        while (_at < _text.Length && char.IsAsciiLetterOrDigit(_text[_at])) _at++;
        string name = _text[start.._at].ToString().ToLowerInvariant();
        return name switch
        {
            "pi" => Math.PI,
            "e" => Math.E,
            _ => Function(name),
        };
    }

    private double Function(string name)
    {
        if (name is "min" or "max" or "pow")
        {
            Take('(');
            double first = Sum();
            Take(',');
            double second = Sum();
            Take(')');
            return name switch { "min" => Math.Min(first, second), "max" => Math.Max(first, second), _ => Math.Pow(first, second) };
        }
        return name switch
        {
            "sqrt" => Math.Sqrt(Bracket()), "abs" => Math.Abs(Bracket()), "floor" => Math.Floor(Bracket()), "ceil" => Math.Ceiling(Bracket()),
            "round" => Math.Round(Bracket(), MidpointRounding.AwayFromZero), "ln" => Math.Log(Bracket()), "log" => Math.Log10(Bracket()),
            "exp" => Math.Exp(Bracket()), "sin" => Math.Sin(Bracket()), "cos" => Math.Cos(Bracket()), "tan" => Math.Tan(Bracket()),
            _ => throw new BasicException($"there is no function '{name}'"),
        };
    }

    private double Bracket()
    {
        Take('(');
        double value = Sum();
        Take(')');
        return value;
    }

    private double Number()
    {
        int start = _at;
        while (_at < _text.Length && (char.IsAsciiDigit(_text[_at]) || _text[_at] == '.')) _at++;
        if (_at + 1 < _text.Length && _text[_at] is 'e' or 'E' && (char.IsAsciiDigit(_text[_at + 1]) || _text[_at + 1] is '+' or '-'))
        {
            _at += 2;
            while (_at < _text.Length && char.IsAsciiDigit(_text[_at])) _at++;
        }
        return double.TryParse(_text[start.._at], NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent, CultureInfo.InvariantCulture, out double number)
            ? number
            : throw new BasicException($"'{_text[start.._at]}' is no number");
    }

    private void Take(char expected)
    {
        if (Next != expected) throw Unexpected();
        _at++;
    }

    private BasicException Unexpected() => Next == '\0'
        ? new BasicException("the expression ends too early")
        : new BasicException($"unexpected '{_text.Slice(_at, char.IsHighSurrogate(Next) ? 2 : 1)}' at character {_at + 1}");
}
