"""What the verifier takes for the same answer, and what not, kind by kind: the cases of its tests and of its documentation.

    python tests/answers.py > support/verifier/answers.md        writes the table of the documentation

A kind has groups of answers, separated by ;; and within a group by ~. The first of a group is compared with each other
one: equal in a row that begins with =, different in one that begins with /. NOT_FOUND are right answers that the
verifier doesn't find to be equal, each with the reason.
"""

import re
from itertools import groupby

ANSWERS = r"""
integer
    = 42 ~ 42 ~ +42 ~ 042 ~ 42.00 ~ --42 ;; -0 ~ 0
    / 42 ~ -42 ~ 0.42 ~ 4 2 ;; 9007199254740992 ~ 9007199254740993 ;; 1\,234 ~ 235 ;; 42 ~ 4.2
thousands
    = 1234 ~ 1,234 ~ 1{,}234 ~ 1\,234 ~ 1 234 ;; 12,\! 345 ~ 12345 ;; 115,000 ~ 115000 ;; US\$70,000 ~ 70000 ;;
      \$70,000 ~ 70{,}000 ;; 1,234,567 ~ 1234567 ;; \{100,200\} ~ \{200, 100\} ;; (1,234) ~ (1, 234) ;;
      [-36,104] ~ [-36, 104] ;; 1,000, 2,000 ~ 1000, 2000 ;; \{1,000, 2,000\} ~ \{1000,2000\} ;; x=1,234 ~ 1234 ;;
      1,234\text{ cm} ~ 1234 ;; 12,345.67 ~ 12345.67 ;; (100,200,300) ~ (100, 200, 300) ;; \frac{1,234}{5} ~ 1234/5 ;;
      1\thinspace000 ~ 1000
    / 1,234 ~ 1.234 ;; 1,234 ~ 234 ;; 1{,}234 ~ 1, 234 ;; 12,34 ~ 1234 ;; 115, 0 ~ 115,000 ;; 0, 1 ~ 1,000 ;;
      \{0,1\} ~ 1,000 ;; 1, 234 ~ 1,234 ;; \{1,234\} ~ 1234 ;; (1,234) ~ 1234 ;; 234, 1 ~ 1,234 ;; 115,000 ~ 115 ;;
      115,000 ~ 115,0 ;; (0,1) ~ 1,000 ;; 1,2,3 ~ 123 ;; 1,23 ~ 123 ;; 100,200 ~ 100, 200 ;; \{115,0\} ~ 115,000 ;;
      100,000 ~ 100, 0 ;; 1,000 ~ \{1,0\} ~ 1, 0 ~ (1,0) ;; 10,000 ~ 10, 0 ~ \{0,10\} ;; 2,000 ~ \{2,0\} ;;
      1,000,000 ~ \{0,1\} ~ 1,0,0 ;; 1,001 ~ \{1\} ~ 1,1 ;; 1,010 ~ 1, 10 ;; 1,234 ~ 1, 234 ~ 234, 1 ;;
      12,345 ~ \{12, 345\} ;; 5,040 ~ 5, 40 ;; \$1,000 ~ 1, 0
decimal
    = 1,000.0 ~ 1000 ;; 1.22 ~ 1,22 ;; 0.1\overline{6} ~ 1/6 ;; 0.5 ~ 0.50
    / 0.333 ~ 1/3 ;; 0.99 ~ 1 ;; 0.0000000002 ~ 0.0000000001 ;; 1e-400 ~ 0 ;; 3.14 ~ \pi ;; 0.\overline{3} ~ 0.3 ;;
      0.333... ~ 0.333 ;;
      42 ~ \bar{42} ~ 42\text{ where the answer is wrong} ~ 42\text{ for nothing} ~ 42\text{ for the incorrect problem}
      ~ 42\text{ where this is false} ;; 1234 ~ (1,234) ~ \{1,234\} ~ [1,234]
percent
    = 50\% ~ 50% ;; 50\% ~ 0.5 ;; 28 percent ~ 28\% ;; 12.5 pct ~ 1/8 ;; 28 percentage ~ 28\% ;;
      \text{28 per cent} ~ 28\% ;; 28\text{ percent} ~ 0.28 ;; 28\,\% ~ 28\% ;; twenty percent ~ 20\% ;;
      28\ \text{per cent} ~ 28\% ;; 28 per cent ~ 28\% ;; 28\text{\%} ~ 28\% ;; twenty-eight percent ~ 28\% ;;
      \text{twenty-eight percent} ~ 28 ;; 28\mathrm{\%} ~ 28\%
    / 50\% ~ 5 ;; 50\% ~ 51% ;; 50\% ~ 0.05 ;; 28 percentage ~ 29\% ;; 28 percentage points ~ 0.28 ;; 28\% ~ 2.8 ;;
      \$50 ~ 50\% ;; 28 percent ~ 28\text{ cm} ;; 28\% ~ 0.028 ;; 28\% ~ \frac{28}{10} ;; 50^\circ ~ 50\% ;;
      50 ~ 50\text{ basis points} ~ 50\text{ per mille} ~ 50\text{ per thousand} ~ 50\text{ percentile} ~ 50\text{ ppm}
      ~ 50\text{ per ten} ~ 50\text{ in ten} ~ 50 \text{ out of sixty}
money
    = \$42.50 ~ 42.5 ;; \$1,234 ~ 1234 ;; 42 dollars ~ \$42 ;; 50¢ ~ 50 ;; ₹500 ~ 500 ;; US\$70,000 ~ \$70,000 ;;
      USD 5 ~ 5 ;; 5 USD ~ \$5 ;; €50 ~ 50 ;; 50\text{ euros} ~ €50 ;; 50\text{ cents} ~ 50 ;;
      \$5\text{ million} ~ 5000000 ;; -\$5 ~ -5 ;; \$-5 ~ -\$5 ;; 5\text{ dollars} ~ \$5 ;; \$5 ~ 5 ;; $5 ~ 5 ;;
      \$1.50 ~ 1.5 ;; 5\$ ~ \$5 ;; £5 ~ 5 ;; 50¢ ~ 50\text{ cents} ;; EUR 50 ~ €50 ;; \text{\$}5 ~ 5 ;; \$\,5 ~ 5 ;;
      \mathdollar 5 ~ \mathdollar 5 ;; Rs. 500 ~ ₹500 ;; US\$70 ~ 70 ;; \mathrm{USD} 70 ~ 70 ;; \text{INR } 70 ~ 70 ;;
      U.S. \$70,000 ~ 70000 ;; \pounds 70,000 ~ 70000 ;; 75\cent ~ 75 ;; \text{USD}\ 5 ~ \$5 ;; US$5 ~ \$5 ;;
      5\text{ U.S. dollars} ~ \$5 ;; Rs 5 ~ 5 ;; \text{Rs}\ 5 ~ 5 ;; CNY 5 ~ 5 ;; dollars 5 ~ 5 ;; USD 1,000 ~ 1000
    / \$42.50 ~ 42 ;; \$4 ~ 40 ;; €50 ~ \$50 ;; £5 ~ €5 ;; \$50 ~ 50\% ;; 50\text{ cents} ~ \$50 ;;
      \$5 ~ 5\text{ cm} ;; USD 5 ~ EUR 5 ;; ¥500 ~ ₹500 ;; \$5\text{ million} ~ 5 ;; \$50 ~ 50^\circ ;; \$5 ~ \$-5 ;;
      \$50 ~ 50\text{ cents} ;; 5\text{ euros} ~ 5\text{ dollars} ;; \$5 ~ \$6 ;; $50 ~ €50 ;;
      \text{€}50 ~ \text{£}50 ;; 50\text{ €} ~ 50\text{ \$} ;; 50\,€ ~ 50\,\$ ;; ¥50 ~ €50 ~ \$50 ;;
      50\text{ hours} ~ \$50 ;; 50\text{ people} ~ \$50 ;; 50¢ ~ 50\% ~ \$50 ;; 50 \text{ percentage} ~ \$50 ;;
      ₹50 ~ \$50 ;; 50\text{ pounds} ~ \$50 ;; 50\% ~ \$50 ;; 50^\circ ~ \$50 ~ 50\% ~ 50\text{ radians} ;;
      50\text{ cm} ~ \$50 ;; \$50 ~ €50 ;; \$50\text{ million} ~ €50\text{ million} ;; 50 pesos ~ \$50 ;;
      50\text{ francs} ~ \$50
scientific
    = 1200 ~ 1.2 \times 10^{3} ~ 1.2e3 ;; 10^{20} ~ 100000000000000000000 ;; 5e-1 ~ 1/2 ;; 1.575 x 10^1 ~ 15.75 ;;
      3.0 x 10^8 ~ 3\times 10^8 ;; 3 \times 4 ~ 12 ;; 3×10^8 ~ 300000000 ;; 3x10^8 ~ 3\cdot10^8 ;;
      2.5 X 10^{-3} ~ 0.0025 ;; 6.02 × 10²³ ~ 6.02\times10^{23} ;; 1.2 * 10^3 ~ 1200 ;; 1.2E3 ~ 1200 ;;
      5 x 10^-2 ~ 0.05 ;; 1.5 x 10^3 ~ 1500 ;; 1.5 x 10^{3} ~ 1500 ;; 1.5 x 10^-3 ~ 0.0015 ;;
      1.5\text{x}10^{3} ~ 1500 ;; 1.5 \mathrm{~x} 10^3 ~ 1500 ;; 1.575x10^1 ~ 15.75 ;; 3 x 10^8 m/s ~ 3\times10^8 ;;
      3 x 4 ~ 12 ;; 2 x 2 x 3 ~ 12 ;; 2^2 x 3 ~ 12 ;; 2^3 \times 3^2 ~ 2^3 x 3^2 ;; 6.0x10^{-5} ~ 6\times10^{-5} ;;
      \frac12 x 4 ~ 2 ;; 3 x 4 matrix ~ 3 \times 4 ;; 2x10 ~ 20 ;; 3.0 x 10^8 m/s ~ 3\times 10^8
    / 1.2 \times 10^{3} ~ 120 ;; 1e5 ~ 1e6 ;; 2e3 ~ 8 ;; 3.0 x 10^8 ~ 3.0 x 10^9 ;; 3x ~ 3 ;; 3.0 x 10^8 ~ 30x^8 ;;
      0x10 ~ 0 ;; 3 x 4 ~ 34 ;; 3.0 x 10^8 ~ 3 ;; 3x^2 ~ 3\cdot2 ;; 1.575 x 10^1 ~ 1.575 ;; 5 x 10^-2 ~ 5 x 10^2 ;;
      3x10 ~ 310 ;; 3 x 4 ~ 7
fraction
    = \frac3{3} ~ 1 ;; -1/2 ~ \frac{1}{-2} ;; {1 \over 2} ~ 1/2 ;; 5⁄6 ~ 5/6
    / \frac{2}{1} ~ \frac{1}{2} ;; \frac12 ~ -\frac12 ;; 11/2 ~ 1 1/2 ;; 1/0 ~ 42 ;; \frac{1}{0} ~ 0
mixed
    = 5/2 ~ 2\frac{1}{2} ~ 2½ ;; 1 1/2 ~ 3/2 ;; -2\frac12 ~ -2.5 ;; 2\frac{3}{2} ~ 3
    / 2\frac{1}{2} ~ 1 ;; 2½ ~ 21/2 ;; 1 1/2 ~ 11/2 ;; -2\frac12 ~ -1.5
sqrt
    = \sqrt{8} ~ 2\sqrt{2} ;; \sqrt2 ~ √2 ;; sqrt(2) ~ 2^{1/2} ;; \sqrt[3]{-8} ~ -2 ;;
      \frac{1}{\sqrt{2}} ~ \frac{\sqrt2}{2} ;; \sqrt{3+2\sqrt2} ~ 1+\sqrt2 ;; \sqrt{\frac{4}{9}} ~ 2/3 ;;
      \sqrt[3]{\frac23\sqrt{\frac73}+1}+\sqrt[3]{-\frac23\sqrt{\frac73}+1} ~ 1 ;;
      \sqrt[3]{2+\sqrt5}+\sqrt[3]{2-\sqrt5} ~ 1 ;; \sqrt[5]{-32} ~ -2 ;; \sqrt[3]{1-\sqrt2} ~ -\sqrt[3]{\sqrt2-1} ;;
      \sqrt[3]{-2} ~ -\sqrt[3]{2} ;; \sqrt[3]{-\pi} ~ -\sqrt[3]{\pi} ;;
      \sqrt[3]{20+14\sqrt2}+\sqrt[3]{20-14\sqrt2} ~ 4 ;; \sqrt[3]{x^3} ~ x ;; \sqrt[3]{-27}+1 ~ -2 ;; ∛(-8) ~ -2 ;;
      \sqrt[3]{7+5\sqrt2}+\sqrt[3]{7-5\sqrt2} ~ 2 ;; \sqrt[3]{2-\sqrt5} ~ \frac{1-\sqrt5}{2} ;;
      \sqrt[3]{10+6\sqrt3}+\sqrt[3]{10-6\sqrt3} ~ 2 ;; (-8)^{1/3} ~ -2 ;; (-8)^{\frac13} ~ -2 ;; (-8)^{2/3} ~ 4 ;;
      (-32)^{3/5} ~ -8 ;; (2-\sqrt5)^{1/3} ~ \frac{1-\sqrt5}{2} ;;
      \left(2+\sqrt5\right)^{1/3}+\left(2-\sqrt5\right)^{1/3} ~ 1 ;; \sqrt[3]{-\sqrt{2}} ~ -\sqrt[6]{2} ;;
      \sqrt[3]{1-e} ~ -\sqrt[3]{e-1} ;; \sqrt[5]{1-\sqrt{2}} ~ -\sqrt[5]{\sqrt2-1} ;;
      \sqrt[3]{3-2\sqrt{3}} ~ -\sqrt[3]{2\sqrt3-3}
    / \sqrt[3]{2} ~ 3\sqrt{2} ;; \frac{1+\sqrt{5}}{2} ~ 2 ;; \sqrt{2} ~ 1.4142135623730951 ;; √2 ~ √3 ;;
      \sqrt[3]{2+\sqrt5}+\sqrt[3]{2-\sqrt5} ~ -1 ;; \sqrt[3]{-8} ~ 2 ;; \sqrt[3]{1-\sqrt2} ~ \sqrt[3]{\sqrt2-1} ;;
      \sqrt[4]{-16} ~ -2 ;; \sqrt[4]{-16} ~ 2 ;; \sqrt{-4} ~ -2 ;; \sqrt[3]{2} ~ \sqrt{2} ;;
      \sqrt[3]{20+14\sqrt2}+\sqrt[3]{20-14\sqrt2} ~ 3 ;; \sqrt[3]{-2} ~ \sqrt[3]{2} ;;
      \sqrt[3]{2+\sqrt5} ~ \sqrt[3]{2-\sqrt5} ;; \sqrt[3]{9} ~ 3
constant
    = x**2 ~ x^2 ;; 2\pi ~ 2π ;; \frac{\pi}{2} ~ pi/2 ;; e^{2} ~ \exp(2) ;; -1 ~ i^2 ~ e^{i\pi} ;; (1+i)^2 ~ 2i ;;
      \infty ~ ∞ ;; -\infty ~ -∞ ;; i^{2023} ~ -i
    / \pi ~ 3 ~ e ;; i ~ 1 ;; \infty ~ -\infty ;; \infty ~ 42 ;; 22/7 ~ π
function
    = \sin 30^\circ ~ 1/2 ;; 3 ~ \log_2 8 ~ \lceil 2.5 \rceil ~ |-3| ;; 1 ~ \ln e ~ \sin^2 x + \cos^2 x ;; 5! ~ 120 ;;
      10 ~ \binom{5}{2} ~ {5 \choose 2} ;; \lfloor 2.5 \rfloor ~ 2 ;; \sin^{-1} 1 ~ \frac{\pi}{2} ;;
      \sin 2x ~ 2\sin x\cos x ;; \cos(\pi/5) ~ \frac{1+\sqrt5}{4} ;; \frac{10!}{5!5!} ~ 252 ;;
      \sinh x ~ \frac{e^x-e^{-x}}{2} ;; n! ~ n\cdot(n-1)!
    / \sin(10^{22})-0.85 ~ 0 ;; 5! ~ 24 ;; 10!! ~ 3628800 ;; \sin x ~ \cos x ;; \log_2 8 ~ 8 ;; |x+2| ~ x+2 ;;
      \sqrt{(2x+5)^2} ~ 2x+5 ;; |a\cdot b\cdot c\cdot d| ~ a\cdot b\cdot c\cdot d ;;
      \sqrt{p^2q^2r^2s^2} ~ p\cdot q\cdot r\cdot s ;; \sinh^{-1}x ~ \frac1{\sinh x}
expression
    = (x-1)^2 ~ x^2-2x+1 ;; 2x ~ 2 \cdot x ;; xy ~ y x ;; x/2 ~ \frac12 x ;; \frac{x^2-1}{x-1} ~ x+1 ;; x^{-1} ~ 1/x ;;
      \sqrt{x^2} ~ |x| ;; n ~ n ;; -(x-y) ~ y-x
    / (x-1)^2 ~ x^2+2x+1 ;; x+1 ~ x+2n+1 ;; x ~ |x| ~ \sqrt{x^2} ;; x ~ X ;; x^2 ~ 2x ;; f(x) ~ f(y) ;;
      1/2x ~ 1/(2x) ;; A: 1 ~ A: 42 ~ (A) 42 ~ A: 1+41 ;; B: 43 ~ B: 1 ~ B: 4-3 ~ B: +1 ;; \log N ~ \log n ;;
      \frac X Y ~ \frac x y ~ \frac x Y ;; \sqrt X ~ \sqrt x ;; \tan A ~ \tan a ;; a and B ~ A and b ~ A and B ;;
      \sin A\cos B ~ \sin a\cos b ;; \sin A \sin B ~ \sin a \sin b ;; PQR ~ pqr ;; HCN ~ hcn ;; \sum X ~ \sum x ;;
      \int F ~ \int f ;; N log N ~ n log n ;; n\log n ~ N\log N ~ N\log n ;; |t+5| ~ t+5 ;; |n+2| ~ n+2 ;;
      \sqrt{(x+4)^2}-4 ~ x ;; |x+2|+|x+3| ~ 2x+5 ;; |a||b||c||d| ~ a b c d ;; x|x+2| ~ x(x+2) ~ x^2+2x ;;
      \frac{x+2}{|x+2|} ~ 1 ;; |x+2|<3 ~ x+2<3 ;; y=|x+2| ~ y=x+2 ;; f(x)=|x+3| ~ f(x)=x+3 ;;
      \cosh^{-1} x ~ \frac1{\cosh x} ;; \tanh^{-1} x ~ \frac1{\tanh x} ;; \sec^{-1}x ~ \cos x ;; \cot^{-1}x ~ \tan x ;;
      \csc^{-1} x ~ \sin x ;; f^{-1}(x)=2x ~ \frac{x}{f}=2x ;; \frac{d^2y}{dx^2} ~ \frac{dy}{x^2} ~ \frac{d y}{x^2} ;;
      \frac{dV}{dt} ~ \frac Vt ;; dx ~ xd ;; y\,dx ~ x\,dy ;; y\,dx+x\,dy ~ 2x\,dy ~ 2y\,dx ;; y\,dx-x\,dy=0 ~ 0=0 ;;
      \frac{dy}{dx}=\frac{y}{x} ~ \frac{y}{x}=\frac{y}{x} ;; \overline{12} ~ 12 ;; \overline{ab} ~ ab ;;
      x=3\lor y=4 ~ x=3, y=4 ~ 3,4 ;; \text{12 base seven} ~ 12 ;; \frac{1}{2}\text{ dozen} ~ \frac12 ;;
      \sqrt{x^2y} ~ x\sqrt y ;; v=\frac{dx}{dt} ~ v=\frac{x}{t} ~ \frac xt ;; 3x^2\,dx ~ 3x^3d ~ 3x\,dx^2 ;;
      P(2)=7 ~ 2P=7 ;; not x=5 ~ 5
opaque
    = \sum_{k=0}^{n-1} F_{n-k-1} F_k ~ \sum_{k=0}^{n-1} F_k F_{n-k-1} ;; f(2)+1 ~ 1+f(2) ;;
      10^{10^{10}} ~ 10^{10000000000}
tuple
    = \left(\frac12, 3\right) ~ (0.5,3) ;; (p,q)=(3,2) ~ (3,2) ;; 1,2 ~ (1,2) ;; \langle 1,2,3 \rangle ~ (1,2,3)
    / (1,2,3) ~ (1,2) ;; (1,2) ~ (2,1) ;; (1,2) ~ \{1,2\} ;; (1,2) ~ 12 ;;
      1,2,3,4 ~ \begin{pmatrix}1&2\\3&4\end{pmatrix} ;; \begin{pmatrix}1&2\\3&4\end{pmatrix} ~ (1,2,3,4) ~ [1,2,3,4] ;;
      \begin{pmatrix}1\\2\end{pmatrix} ~ 1<x<2 ;; x=1,y=2 ~ 2,1 ~ \{2,1\} ~ 1<x<2 ;; a=1,b=2,c=3 ~ 3,2,1 ~ 2,3,1
set
    = \{1,2\} ~ \{2,1\} ;; \{1,2\} ~ \{1,2,2\} ~ x=1, x=2 ;; \pm 2 ~ \{-2,2\} ;; 1 \text{ and } 2 ~ 1,2 ;;
      21, 36, and 82 ~ 82, 36, 21 ;; 1 or 2 ~ 2 or 1 ;; \emptyset ~ \{\} ;; x = 1 \pm \sqrt2 ~ 1+\sqrt2, 1-\sqrt2 ;;
      \pm\frac12 ~ \frac12, -\frac12 ;; p=5,q=2;p=7,q=2 ~ (5,2),(7,2) ;; a_3=2, b=1 ~ b=1, a_{3}=2 ;;
      (1,2),(3,4) ~ (3,4),(1,2) ;; n=1, 2, 3 ~ 1,2,3 ;; \{1,2\}\cup\{3\} ~ \{1,2,3\} ;; \{0, \pm 1\} ~ -1, 0, 1 ;;
      1331 \& 1728 ~ 1331 and 1728 ;; 1331, 1728 ~ 1331 \text{ and } 1728 ;; x=1 \text{ or } x=-2 ~ 1, -2 ;;
      \{3,5,7\} ~ 3, 5, 7 ;; 3\text{ or }5 ~ \{3,5\} ;; x=1,\ x=-2 ~ \{-2, 1\} ;;
      1 \text{ and } 2 ~ 2 \text{ and } 1 ;; 1331 & 1728 ~ 1331 and 1728 ;; 1331 \text{ \& } 1728 ~ 1331 and 1728 ;;
      \text{both } 2 \text{ and } 3 ~ 2, 3 ;; (1,2)\ \&\ (2,1) ~ (1,2),(2,1) ;; \text{either } 2 \text{ or } 3 ~ 2,3 ;;
      2,3 \text{ (both)} ~ 2,3 ;; 2 \& 3 \& 5 ~ 2,3,5 ;; 2, 3 \& 5 ~ 2,3,5 ;; 2 \,\&\, 3 ~ 2 \text{ and } 3 ;;
      2\ \text{\&}\ 3 ~ 2,3 ;; (2,3)\,\&\,(3,2) ~ (2,3),(3,2)
    / \{1,2\} ~ \{1,2,3\} ;; \pm 2 ~ 2 ;; \pm\frac12 ~ 2, -2 ;; n=1,2,3 ~ n=2,3,4 ;; x=1,y=2 ~ x=2,y=1 ;;
      21, 36, and 82 ~ 19, 46, and 82 ;; 1331 ~ 1331 and 1728 ;; 1331 \& 1728 ~ 1331 and 1729 ;;
      x=1 ~ x=1 \text{ or } x=-2 ;; 1 \& 2 ~ 12 ;; 1 \& 2 ~ 3 ;; A\cup B ~ A,B ~ \{A,B\} ;;
      \{(1,2),(3,4)\} ~ (1,2)\cup(3,4) ;; (1,2),(3,4) ~ (1,2)\cup(3,4) ;; (1,3),(2,4) ~ (1,3)\cup(2,4)
interval
    = [0,1) ~ [0, 1) ;; (1,2] ~ x \in (1,2] ~ 1<x<=2 ;; (1, +\infty) ~ (1,\infty) ;;
      (-\infty,1)\cup(2,3] ~ (2,3] \cup (-\infty,1) ;; x>3 ~ (3,\infty) ;; \mathbb{R} ~ (-\infty,\infty) ;;
      x ∈ ℝ ~ \mathbb R ;; x>0 \text{ and } x<12.5 ~ (0, 12.5) ;; |x|\ge 5 ~ (-\infty,-5]\cup[5,\infty) ;;
      |x|<3 ~ (-3,3) ;; -3<x<3 ~ |x|<3 ;; |x-2|\le 3 ~ [-1,5] ;; [1,2]\cup[2,3] ~ [1,3] ;; (0,1)\cup[1,2) ~ (0,2) ;;
      x<1 \text{ or } x>5 ~ (-\infty,1)\cup(5,\infty) ;; x\ge 4 \text{ and } x\le 5 ~ 4\le x\le 5 ;;
      (-\infty,0)\cup\{0\}\cup(0,\infty) ~ \mathbb{R} ;; ]1,2[ ~ (1,2) ;; [1,2[ ~ [1,2) ;; ]-\infty,3] ~ x\le 3 ;;
      x>0, x<12 ~ (0,12) ;; (1,5)\cap(3,7) ~ (3,5) ;; \{x \mid x>3\} ~ (3,\infty) ;;
      x\in(0,1)\cup(1,2) ~ (0,2)\setminus\{1\} ;;
      (-\infty,-\sqrt2)\cup(\sqrt2,\infty) ~ x<-\sqrt2 \text{ or } x>\sqrt2 ;;
      a<x \text{ and } x<b ~ x<b \text{ and } a<x ;; [1,3]\cup[2,4] ~ [1,4] ;; ]0;1] ~ (0,1] ;; |x| < 2 ~ (-2,2) ;;
      |x| > 2 ~ (-\infty,-2)\cup(2,\infty) ;; x>0, x\neq 1 ~ (0,1)\cup(1,+\infty) ;; x > 0 \land x < 5 ~ (0,5) ;;
      \left[0, 1\right) \cup \left(1, 2\right] ~ 0\le x\le 2, x\ne 1 ;; x \not= 3 ~ x\ne 3 ;;
      |x| \ge 5 ~ x\le -5 \text{ or } x\ge 5 ;; |x|\leqslant 5 ~ [-5,5] ;; |x|<5 ~ (-5,5) ;;
      5 \text{ cm}\cdot\text{s} ~ 5 ;; \text{min} ~ \min ;; \deg f = 5 ~ 5 ;; ]1, 2] ~ (1,2] ;;
      ]-\infty, 2[ ~ (-\infty,2) ;; \left]1,2\right[ ~ (1,2) ;; \lbrack 1,2\rbrack ~ [1,2]
    / (1,2) ~ (1,2] ;; (1,2) ~ [1,2] ~ (1,2)\cup(3,4) ;; D=(0,1.5) ~ D=(0,1) ;; (1,2] ~ 1,2 ;;
      (-\infty,1)\cup(1,\infty) ~ \mathbb{R} ;; x>0 \text{ and } x<12.5 ~ (0,12.5] ;;
      |x|\ge 5 ~ (-\infty,-5)\cup(5,\infty) ;; |x|<3 ~ (0,3) ;; |x|<3 ~ x<3 ;; [1,2)\cup(2,3] ~ [1,3] ;;
      x<1 \text{ or } x>5 ~ (1,5) ;; (0,1)\cup(1,2) ~ (0,2) ;; x>0 \text{ or } x<12 ~ x>0 \text{ and } x<12 ;;
      x \ge 1 \text{ or } x>6 ~ x \ge 1 \text{ and } x > 6 ;; ]1,2[ ~ [1,2] ;; [1,2[ ~ (1,2) ;; |x-2|<3 ~ (-3,3) ;;
      |x|>3 ~ |x|<3 ;; [1,2]\cup[3,4] ~ [1,4] ;; x>0 ~ (0,12) ;; x<1 \text{ and } x>5 ~ x<1 \text{ or } x>5 ;;
      x>0 \text{ and } y>0 ~ x>0 \text{ or } y>0 ;; x=1 \text{ and } y=2 ~ x=1 \text{ or } y=2 ;; ]1,2] ~ [1,2) ;;
      1<x<2 ~ 1,2 ~ x=1,x=2 ~ \langle1,2\rangle ~ 1 and 2 ~ \begin{pmatrix}1\\2\end{pmatrix} ;;
      1\le x\le2 ~ 1, 2 ~ x=1, x=2 ~ x=1\text{ or }x=2 ;; 2x>4\text{ and }x<10 ~ 2x>4\text{ or }x<10
matrix
    = \begin{pmatrix} 0 & 3 \\ 0 & -1 \end{pmatrix} ~ \begin{bmatrix}0&3\\0&-1\end{bmatrix} ;;
      \begin{pmatrix}1\\2\end{pmatrix} ~ (1,2)
    / \begin{pmatrix}1&2\end{pmatrix} ~ \begin{pmatrix}1\\2\end{pmatrix} ;;
      \begin{pmatrix}1&2\\3&4\end{pmatrix} ~ \begin{pmatrix}1&2\\3&5\end{pmatrix}
equation
    = 42 ~ x = 42 ~ x = y = 42 ~ 42 = x ;; x \approx 11 ~ 11 ;; x=1/3\approx0.3 ~ 1/3 ;; 2x-y+1=0 ~ y=2x+1 ;;
      y=2x+1 ~ 2x+1 ;; x-2y=0 ~ 2y-x=0 ;; 5 ~ AB = 5 ~ f(2)=5 ;; \frac{x^2}{9}+\frac{y^2}{4}=1 ~ 4x^2+9y^2=36
    / 42 ~ 2x = 42 ~ x+1=42 ~ -x=42 ~ 41=42 ;; 0=0 ~ x+y=1 ;; x=5 ~ y=5 ;; 1/x=5 ~ 5 ;; 5 m ~ 5 s ;; y=2x+1 ~ y=2x-1 ;;
      42 ~ \text{not the answer}=42 ~ \text{wrong answer}=42 ~ \text{double the answer}=42 ~ \text{not}=42
      ~ \text{negative of it}=42 ~ \text{square of it}=42 ~ \text{one more than the answer}=42 ;;
      (\pm1,\pm2) ~ (1,2),(-1,-2) ;; \bar z ~ z ~ \hat z ~ \tilde z ~ \vec z ~ \bar{\bar z} ~ \mathbf{z} ;;
      z ~ \vec{z} ;; \overline{AB} ~ AB ~ \overline{A}B ~ \overline{A}\,\overline{B} ~ \overrightarrow{AB} ;;
      \overline{ABC} ~ ABC
inequality
    = 5 \leq x ~ x \geq 5 ;; -x >= -1 ~ x <= 1 ;; x \leqslant 3 ~ x\le 3 ;; x != 5 ~ x \ne 5 ;;
      3 > x > 1 ~ 1 < x < 3 ;; 2x<6 ~ x<3
    / x<3 ~ x\le3 ;; 2\le x<5 ~ 2<x<5 ;; -x<1 ~ x<-1 ;; |x|<1 ~ x<1 ;; x<3 ~ y<3
ratio
    = 11:21 ~ V_1:V_2=11:21 ;; 1:2 ~ 2:4 ;; 1:2:3 ~ 2:4:6 ;; A:B:C = 1:2:3 ~ 1:2:3
    / 11:21 ~ 21:11 ;; 1:2:4 ~ 1:2:3 ~ A:B:C = 1:2:3
units
    = 42 ~ 42\text{ cm} ~ 42 apples ~ 42nd ~ 42^{\text{nd}} ;; 90^\circ ~ 90 ;; 90 degrees ~ 90° ;; 5 km/h ~ 5 ;;
      15\mbox{ cm}^2 ~ 15 square centimeters ;; 12\pi\text{ m} ~ 12\pi ;; 42 kilometers per hour ~ 42 km/h ;;
      20^\circ\text{C} ~ 20 ;; 12 ~ 12 m/s ~ 12 years old ;; 5 m ~ 5 meters ;; 15 cm² ~ 15 square centimetres ;;
      7 million people ~ 7,000,000 ;; 5\text{ units}^2 ~ 5 square units ;; 2\text{ mol}^{-1} ~ 2 ;;
      5\text{ gallons} ~ 5\text{ gal} ;; 3\text{ years} ~ 3\text{ yr} ;; 5\text{ newtons} ~ 5\text{ N} ;;
      5\text{ sq. ft.} ~ 5\text{ square feet} ;; 18/\text{day} ~ 18 ;; 60\ \frac{\text{km}}{\text{h}} ~ 60 ;;
      60\ \frac{\text{km}}{\text{h}} ~ 60\text{ km/h} ;; 5\text{ kN} ~ 5\text{ kilonewtons} ;;
      5\text{ m/s}^2 ~ 5\text{ meters per second squared} ;; 5 \text{ mL} ~ 5\text{ milliliters} ;;
      3\text{ hrs} ~ 3\text{ hours} ;; 5\,\mathrm{kg\cdot m/s^2} ~ 5 ;; 10\text{ m s}^{-1} ~ 10\text{ m/s} ;;
      9.8\,\frac{\text{m}}{\text{s}^2} ~ 9.8\text{ m/s}^2 ;; 5\text{ ft}^2 ~ 5\text{ sq ft} ;;
      5\text{ mph} ~ 5\text{ miles per hour} ;; 5\text{ MPa} ~ 5\text{ megapascals} ;;
      12\text{ in} ~ 12\text{ inches} ;; 5 lbs ~ 5 pounds ;; 20^\circ\text{C} ~ 20^\circ C ;;
      90^\circ ~ 90\text{ degrees} ;; 7\text{ cubic centimeters} ~ 7\text{ cm}^3 ;; 2\text{ kWh} ~ 2 ;;
      5\text{ joules} ~ 5\text{ J} ;; 9 (apples) ~ 9 ;; 9 (red apples) ~ 9 ;; 12 (cm) ~ 12 ;; 9\text{ (apples)} ~ 9 apples ;;
      3 \text{ km/h} ~ 3 \text{ kph} ;; 15\text{ N·m} ~ 15\text{ N m} ;; 5\text{ m}/\text{s} ~ 5\text{ m/s} ;;
      1\text{ week} ~ 1\text{ wk} ;; 42\text{ km per hour} ~ 42\text{ km/hr} ;; 5 cm^2 ~ 5\text{ cm}^2 ;;
      5cm ~ 5\text{ cm} ;; 6 \text{ sec} ~ 6 \text{ seconds} ;; 5\text{ square units} ~ 5 ;;
      50\text{ Hz} ~ 50\text{ hertz} ;; 60\text{ m/s}^2 ~ 60\ \frac{\text{m}}{\text{s}^2} ;; 18\text{/s} ~ 18 ;;
      5\text{ meters per second squared} ~ 5\text{ m/s}^2 ;; 5\text{ in.} ~ 5\text{ inches} ;;
      5\text{ mL} ~ 5\text{ milliliters} ;; 5\text{ J} ~ 5\text{ Joules} ;; 5\text{ MHz} ~ 5\text{ megahertz} ;;
      5\text{ rad/s} ~ 5\text{ radians per second} ;; 5\text{ yd}^2 ~ 5\text{ square yards} ;; 18/\text{hour} ~ 18 ;;
      18\ \text{s}^{-1} ~ 18/\text{s} ;; 60\ \frac{\text{kg}\cdot\text{m}}{\text{s}^2} ~ 60 ;; 60^\circ/\text{s} ~ 60
    / 42 ~ 41\text{ cm} ~ 42\text{ hours }30\text{ minutes} ~ 42 apples 43 ;; 42 cm ~ 42 m ;; 7 million ~ 7 ;;
      5\text{ gallons} ~ 5\text{ quarts} ;; 5\text{ kN} ~ 5\text{ N} ;; 5\text{ MW} ~ 5\text{ mW} ;;
      5\text{ m/s} ~ 5\text{ m/s}^2 ;; 5\text{ cm} ~ 5\text{ cm}^2 ;; 50^\circ ~ 50\text{ cm} ;;
      5\text{ km} ~ 5\text{ miles} ;; 18/\text{day} ~ 18/\text{week} ;;
      60\ \frac{\text{km}}{\text{h}} ~ 60\ \frac{\text{h}}{\text{km}} ;; 5\text{ s} ~ 5\text{ m} ;;
      3\text{ years} ~ 3\text{ months} ;; 5\text{ sq ft} ~ 5\text{ ft} ;; 20^\circ\text{C} ~ 20^\circ\text{F} ;;
      9 (apples) ~ 9 (pears) ;; 9 (not apples) ~ 9 ;; 5\text{ mL} ~ 5\text{ L} ;; 18/\text{day} ~ 1/18 ;;
      5\text{ m}^{-1} ~ 5\text{ m} ;; 5 (10) ~ 5 ;; 1000\text{ m} ~ 1000\text{ km} ;; 42\text{ As} ~ 42\text{ A} ;;
      5\text{ Ns} ~ 5\text{ N} ;; 5\text{ Ws} ~ 5\text{ W} ;; 5\text{ Vs} ~ 5\text{ V} ;;
      5\text{ MWh} ~ 5\text{ mWh} ;; 5\text{ MBq} ~ 5\text{ mBq} ;; 5\text{ mSv} ~ 5\text{ MSv} ;;
      5\text{ Mbar} ~ 5\text{ mbar} ;; 5\text{ MOhm} ~ 5\text{ mOhm} ;;
      5\text{ MBps} ~ 5\text{ Mbps} ~ 5\text{ mbps} ;; 5\text{ Mpc} ~ 5\text{ mpc} ;; 5\text{ mAh} ~ 5\text{ MAh} ;;
      5\text{ MPa} ~ 5\text{ mPa} ~ 5\text{ MPA} ;; 5\text{ MHz} ~ 5\text{ mHz} ;; 5\text{ Cal} ~ 5\text{ cal} ;;
      5\text{ MeV} ~ 5\text{ meV} ;; 5\text{ Mmol} ~ 5\text{ mmol} ;; 5\text{ Gbps} ~ 5\text{ GBps} ~ 5\text{ gbps} ;;
      20^\circ ~ 20^\circ C ~ 20^\circ F ~ 20\text{ rad} ~ 20\% ~ \$20 ;;
      20^\circ C ~ 20^\circ F ~ 20\text{ K} ~ 20^\circ ~ 20\text{ C} ~ 20\text{ F} ;; 5\text{ pounds} ~ \$5 ;;
      \$5 ~ €5 ~ 5¢ ~ 5\% ~ 5\text{ euros} ~ \$5\text{M} ~ \$5\text{K} ~ \$5\text{ per hour}
      ~ 5\text{ Canadian dollars} ;;
      5 ~ \$5\text{M} ~ \$5\text{K} ~ 5\text{K} ~ 5\text{M} ~ 5\text{ k} ~ 5\text{ bn} ~ 5\text{ mil} ~ 5\text{ lakh}
      ~ 5\text{ crore} ~ 5\text{ quadrillion} ~ 5\text{ googol} ~ 5\text{ mln} ;;
      ¥5 ~ 5\text{ yuan} ~ 5\text{ won} ~ \$5
text
    = \text{Evelyn} ~ Evelyn ;; yes ~ Yes ;; B ~ \text{(B)} ;; B ~ (B) ~ (B) 42 ;; E. ~ E ;;
      \text{No solution} ~ no solution ;; red, blue ~ blue, red ;; \textbf{(B)}\ 42 ~ 42 ;; A) 5 ~ A ;; A: 5 ~ 5 ;;
      \text{Yes.} ~ Yes ;; \text{Yes}. ~ yes ;; \text{No.} ~ No ;; \text{Paris.} ~ Paris ;;
      5\text{ cm.} ~ 5\text{ cm} ;; 42. ~ 42 ;; \text{True.} ~ true ;; \text{no solution.} ~ \text{No solution} ;;
      \text{E.} ~ E ;; \text{42.} ~ 42 ;; \textbf{A.} ~ A ;; \text{False.} ~ \text{false} ;;
      \text{No solution.} ~ \text{No solution} ;; \text{5 cm.} ~ 5 ;; 5 \text{ .} ~ 5 ;; \textbf{Yes.} ~ Yes ;;
      \text{It is even.} ~ \text{It is even} ;; \text{convergent.} ~ \text{Convergent} ;; \text{(A.)} ~ A ;;
      \text{Alice.} ~ Alice ;; \text{Cannot be determined.} ~ \text{cannot be determined} ;; \text{Yes.}~ ~ Yes ;;
      \text{Does not exist.} ~ does not exist ;; 5\text{ km.}^2 ~ 5
    / Evelyn ~ Carla ;; listen ~ silent ;; True ~ 1 ;; (B) 42 ~ 43 ;; A) 5 ~ B ;; \text{Yes.} ~ No ;;
      \text{Yes?} ~ No ;; \text{Paris.} ~ London ;; 4.2 ~ 42 ;; \text{4.2} ~ 42 ;; .42 ~ 42 ;; \text{Yes. No.} ~ Yes ;;
      \text{Yes, no} ~ Yes ;; \text{A.B.} ~ A ;; \text{not true.} ~ true
style
    = 42 ~ \mathbf{42} ~ $42$ ~ \(42\) ~ **42** ~ 42, ~ \,42\, ~ 42\\ ~ \underline{42} ~ \color{red}{42}
      ~ \textcolor{blue}{42} ~ \left. 42 \right. ~ \Large{42} ~ = 42 ~ \approx 42 ;; \displaystyle \frac{1}{2} ~ 1/2 ;;
      \left(1,\,2\right) ~ (1,2) ;; \\frac{1}{2} ~ \frac{1}{2}
unicode
    = −5 ~ -5 ;; 42 ~ ４２ ~ ٤٢ ~ 42。 ;; x² ~ x^2 ;; x₁ ~ x_1 ;; 3×4 ~ 12 ;; 90° ~ 90 ;; ½ ~ 0.5 ;; α ~ \alpha ;;
      2≤x ~ x\ge 2 ;; （1，2） ~ (1,2) ;; ∛8 ~ 2
    / xᵃ ~ xa ;; 2ᵏ ~ 2k ;; 2k ~ 2ᵏ ~ 2ₖ ;; xn ~ xₙ ;; xi ~ xᵢ ;; 2x ~ 2ˣ ;; 42 ~ 4② ~ ④② ;; 23 ~ 2⁢3 ~ 2⁤3 ;; 5 ~ ⑤ ;;
      z ~ ᶻ
hedge
    / 42 ~ 41 \text{ or } 42 ~ \{41,42\} ~ \emptyset ~ .* ~ {answer} ~ 41 \neq 42 ~ 42 \pm 1 ~ 7 \text{ (not } 42)
      ~ 42 not ~ 41 to 42 ~ x = 41 = 42 ~ x \in \{41, 42\} ~ 42 - 1 ~ 41 \approx 42 ~ x ~ \text{not } 42 ;;
      B ~ (A) \text{(B)} ~ (A) 41, (B) 42 ;; 42 ~ 42\text{ to forty three} ~ \sim 42 ~ x\sim42
malformed
    / 42 ~ I don't know. ~ . ~ - ~ $ ~ { ~ zoo ;; \frac{1} ~ 1 ;; (1,2 ~ (1,2)x ;; 2 ~ ² ~ ^2 ;; 1..2 ~ 1.2
conditions
    = f(x)=0 \text{ for all } x ~ f(x)=0 ;; 2^n\text{ for all }n\ge 1 ~ 2^n ;; x^2 \text{ (for all } x) ~ x^2 ;;
      cx \text{ where } c \text{ is a constant} ~ cx ;; 2^n \text{ for every positive integer } n ~ 2^n ;;
      k\pi,\ k\in\mathbb{Z} ~ k\pi ;; \frac{\pi}{2}+n\pi \ (n\in\mathbb{Z}) ~ \frac{\pi}{2}+n\pi ;;
      f(x)=cx \text{ for some constant } c ~ cx ;; x^2+C, \text{ where } C \text{ is an arbitrary constant} ~ x^2+C ;;
      n^2 for all n ~ n^2 ;; f(x) = x \text{ for all real } x ~ x ;; y=2x, x>0 ~ y = 2x ;;
      f(x)=x^2 \text{ for all } x \in \mathbb{R} ~ x^2 ;;
      2k\pi \text{ for } k\in\mathbb{Z} ~ 2n\pi \text{ for } n\in\mathbb{Z} ;;
      f(n)=n+1 \text{ for all integers } n ~ f(n) = n+1 ;; x^2 + c \text{ for some constant } c ~ x^2+c ;;
      n(n+1) \quad \forall n \in \mathbb{N} ~ n(n+1) ;; f(x)=x+1 \text{ for all real numbers } x ~ x+1 ;;
      y = Ce^{2x}, \text{ where } C \in \mathbb{R} ~ Ce^{2x} ;; f \equiv 0 ~ f(x)=0 ;; n^2 \quad (n \geq 1) ~ n^2 ;;
      2^n, n \geq 0 ~ 2^n ;; f(x)=0 \; \forall x \in \mathbb{R} ~ f(x)=0 ;;
      2^n \text{ for all positive integers } n ~ 2^n ;; cx \text{, where } c \text{ is any real number} ~ cx ;;
      cx \text{ for some } c \in \mathbb{R} ~ cx ;; cx \quad (c \text{ is a constant}) ~ cx ;;
      c \cdot x \text{ for a constant } c ~ cx ;; f(x) = x \text{ for all } x > 0 ~ f(x)=x ;;
      f(x)=\frac1x \text{ for all } x\in(0,\infty) ~ f(x)=\frac1x ;; (n,2^n) \text{ for all } n\ge1 ~ (n,2^n)
    / f(x)=0 \text{ for all } x ~ f(x)=1 ;; 2^n \text{ for } n = 3 ~ 2^n ;;
      x^2 \text{ for } x>0 ~ x^2 \text{ for } x<0 ;; Ae^x \text{ where } A=3 ~ Ae^x ;;
      5 \text{ if } x>0, 6 \text{ otherwise} ~ 5 ;; 42 \text{ for some but not all } x ~ 42 ;;
      5 \text{ for } x=1, 6 \text{ for } x=2 ~ 5 ;; 2k, k\in\mathbb{Z} ~ 2k+1, k\in\mathbb{Z} ;;
      5 \text{ where } 6 ~ 5 ;; 2^n \text{ for all } n, 3^n ~ 2^n ;; 5 \text{ for no } x ~ 5 ;;
      k\pi, k\in\mathbb{N} ~ k\pi, k \in \mathbb{Z} ;; x_1=2,x_2=3 ~ 3,2
large
    = \frac{1}{2004\cdot 2003!} ~ \frac{1}{2004!} ;; 10\cdot 10^{5000} ~ 10^{5001} ;; 2024\cdot 2023! ~ 2024! ;;
      x^{3000}\cdot x^{3000} ~ x^{6000} ;; (1+x)(1+x)^{2024} ~ (1+x)^{2025} ;; \frac{2025!}{2024!} ~ 2025 ;;
      2^{5000}\cdot 5^{5000} ~ 10^{5000} ;; 4^{1000} ~ 2^{2000} ;; \frac{x^{1000}}{x^{999}} ~ x ;;
      2^{10000}+2^{10000} ~ 2^{10001} ;; \frac{1}{10^{5000}} ~ 10^{-5000} ;; 2024!-2023! ~ 2023\cdot 2023! ;;
      (x^{100})^{100} ~ x^{10000} ;; 3^{2025}\cdot 3 ~ 3^{2026} ;; e^{1000}e^{1000} ~ e^{2000} ;;
      2^{n+1} ~ 2\cdot 2^n ;; \frac{2019!}{2021!} ~ \frac{1}{2021\cdot 2020} ;;
      \frac{1}{2003!} - \frac{1}{2004!} ~ \frac{2003}{2003!\cdot 2004} ;; (x^{1000})^2 ~ x^{2000} ;;
      x^{2024} - x^{2023} ~ x^{2023}(x-1) ;; (x^2)^{1000} ~ x^{2000} ;; (-x)^{2023} ~ -x^{2023} ;;
      n^{1000} \cdot n^{-1} ~ n^{999} ;; e^{1000x} ~ (e^{x})^{1000} ;; 10^{5000}\cdot 10 ~ 10^{5001} ;;
      10^{10000} ~ 100^{5000} ;; \frac{10^{6000}}{10^{5999}} ~ 10 ;; 10^{-5000}\cdot 10 ~ 10^{-4999} ;;
      6^{10000} ~ 2^{10000}3^{10000} ;; 100\cdot 10^{5000} ~ 10^{5002} ;; \sqrt{10^{10000}} ~ 10^{5000} ;;
      \frac{2024!}{2022!} ~ 2024\cdot2023
    / \frac{1}{2004\cdot 2003!} ~ \frac{1}{2003!} ;; 10\cdot 10^{5000} ~ 10^{5000} ;; 2024! ~ 2023! ;;
      x^{3000}\cdot x^{3000} ~ x^{9000000} ;; (1+x)^{2024} ~ (1+x)^{2025} ;; 10^{5000}+1 ~ 10^{5000} ;;
      2024\cdot 2023!+1 ~ 2024! ;; 10^{-5000} ~ 0 ;; x^{6000} ~ x^{6001} ;; \frac{1}{2004!} ~ 0
dots
    = 1,2,\dots,n ~ 1, 2, \ldots, n ;; 1+2+\cdots+n ~ 1+2+\ldots+n ;; x_1,\dots,x_n ~ x_1,\ldots,x_n ;;
      1, 2, 3, ... ~ 1,2,3,\ldots ;; (a_1, a_2, \dots, a_n) ~ (a_1,a_2,\ldots,a_n) ;;
      \{1,2,\dots,n\} ~ \{1, 2, \ldots, n\} ;; 1\cdot 2\cdots n ~ 1 \cdot 2 \cdots n ;;
      x_{1}+\dots+x_{n} ~ x_1+\cdots+x_n ;; 1,2,…,n ~ 1,2,\ldots,n ;; 2,4,6,\dots ~ 2, 4, 6, \ldots ;;
      1, 3, 5, \dots, 2n-1 ~ 1,3,5,\ldots,2n-1 ;; \{1, 2, 3, \ldots\} ~ \{1,2,3,\dots\} ;;
      x = 0, 1, 2, \ldots ~ x=0,1,2,\dots ;; a_1 = a_2 = \cdots = a_n = 1 ~ a_1=a_2=\ldots=a_n=1 ;;
      n=0, \pm 1, \pm 2, \ldots ~ n = 0,\pm1,\pm2,\dots ;; 1+2+…+n ~ 1+2+\cdots+n ;; 1+2+3+\cdots+n ~ 1+2+3+\ldots+n ;;
      x_1 \cdot x_2 \cdot \ldots \cdot x_n ~ x_1 x_2\cdots x_n ;; x_1, \dotsc, x_n ~ x_1,\ldots,x_n ;;
      a_0+a_1x+\dots+a_nx^n ~ a_0+a_1x+\cdots+a_nx^n ;; 1 \times 2 \times \cdots \times n ~ 1\cdot2\cdots n ;;
      1+x+x^2+\cdots ~ 1+x+x^2+\ldots ;; \underbrace{99\ldots9}_{n} ~ \underbrace{99\cdots9}_{n} ;;
      2.718\dots ~ 2.718... ;; \begin{pmatrix}1&\cdots&n\end{pmatrix} ~ \begin{pmatrix}1&\dots&n\end{pmatrix} ;;
      i=1,2,\cdots,n ~ i=1,2,\dots,n
    / 1,2,\dots,n ~ 1,2,n ;; 1,2,\dots,n ~ 2,1,\dots,n ;; 1+2+\cdots+n ~ 3+\cdots+n ;; 1+2+\cdots+n ~ 1+2+n ;;
      1,2,\dots,n ~ 1,2,\dots,m ;; \{1,2,\dots,n\} ~ \{1,2,n\} ;; 1,2,\dots ~ 1,2 ;; 1 \cdot 2\cdots n ~ 2 \cdots n ;;
      x_1,\dots,x_n ~ x_1,\dots,x_m ;; 1,\dots,n ~ 1,n ;; 1,2,3,\dots ~ 1,2,4,\dots
all reals but
    = \mathbb{R}\setminus\{-4\} ~ (-\infty,-4)\cup(-4,\infty) ;;
      \text{all real numbers except } -4 ~ (-\infty,-4)\cup(-4,\infty) ;;
      \mathbb{R} \backslash \{-4\} ~ \mathbb{R}\setminus\{-4\} ;; x \ne 0 ~ \mathbb{R}\setminus\{0\} ;;
      \text{all reals except } 0 \text{ and } 1 ~ \mathbb{R}\setminus\{0,1\} ;; \mathbb{R}-\{1\} ~ x\neq 1 ;;
      x\ne 1 \text{ and } x\ne 2 ~ \mathbb{R}\setminus\{1,2\} ;; x \in \mathbb{R}, x\ne 0 ~ x \ne 0 ;;
      \text{all real numbers} ~ (-\infty,\infty) ;; \text{all reals} ~ \mathbb{R} ;;
      \text{all real numbers but } 2 ~ x \ne 2 ;; \{x \mid x\ne 3\} ~ (-\infty,3)\cup(3,\infty) ;;
      \{x\in\mathbb{R} : x\ne 3\} ~ \mathbb{R}\setminus\{3\} ;; \text{no solution} ~ \emptyset ;;
      \text{no real solutions} ~ \varnothing ;; x \notin \{1,2\} ~ \mathbb{R}\setminus\{1,2\} ;;
      ℝ∖{0} ~ \mathbb{R}\setminus\{0\} ;; \mathbb{R}\setminus \{a\} ~ x\ne a ;;
      \mathbb{R} \smallsetminus \{5\} ~ x \neq 5 ;; \mathbb{R}\setminus \left\{ 0 \right\} ~ x\ne 0 ;;
      \text{all real numbers except for } x = -4 ~ \mathbb{R}\setminus\{-4\} ;;
      \mathbb{R}\setminus\{1,2\} ~ (-\infty,1)\cup(1,2)\cup(2,\infty) ;; \mathbf{R} ~ \mathbb{R} ;;
      \text{all real numbers except } x = 2 ~ \mathbb{R}\setminus\{2\} ;;
      \text{all real numbers other than } 2 ~ \mathbb{R}\setminus\{2\} ;;
      \{x \in \mathbb{R} \mid x \neq 2\} ~ \mathbb{R}\setminus\{2\} ;;
      x \in \mathbb{R} \text{ and } x \neq 2 ~ x\ne 2 ;; x \notin \{2,3\} ~ \mathbb{R}\setminus\{2,3\} ;;
      x\not\in\{2\} ~ x\ne 2 ;; \text{all real numbers } x ~ (-\infty,\infty) ;; \text{real numbers} ~ \mathbb{R} ;;
      \text{No solutions exist} ~ \emptyset ;; \text{DNE} ~ \text{Does not exist} ;;
      \mathbb R ~ \text{all real numbers}
    / \mathbb{R}\setminus\{-4\} ~ \mathbb{R}\setminus\{4\} ;; \mathbb{R}\setminus\{-4\} ~ \mathbb{R} ;;
      \text{all real numbers except } -4 ~ -4 ;; \text{all real numbers except } -4 ~ \mathbb{R} ;; x\ne 0 ~ 0 ;;
      x\ne 0 ~ x=0 ;; \mathbb{R}\setminus\{0,1\} ~ \mathbb{R}\setminus\{0\} ;; \text{no solution} ~ 0 ;;
      \text{all real numbers} ~ (0,\infty) ;; \mathbb{R}\setminus(0,1) ~ \mathbb{R}\setminus[0,1] ;;
      x\ne a ~ x \ne b ;; \text{no solution} ~ \text{all real numbers} ;; \text{no real solutions} ~ \{0\}
repeating
    = 33.3\ldots ~ \frac{100}{3} ;; 0.\dot{3} ~ 1/3 ;; 0.\bar3 ~ 1/3 ;; 0.(3) ~ 1/3 ;; 0.1\overline{6} ~ 1/6 ;;
      0.1666\ldots ~ 1/6 ;; 0.333... ~ 1/3 ;; 0.\dot{1}4285\dot{7} ~ 1/7 ;; 0.\overline{142857} ~ 1/7 ;;
      0.1(6) ~ 1/6 ;; 0.\overline{9} ~ 1 ;; 1.\overline{3} ~ 4/3 ;; 0.1212\ldots ~ 4/33 ;; 0.1\dot6 ~ 1/6 ;;
      0.33… ~ 1/3 ;; -0.\overline{3} ~ -1/3 ;; 2.\overline{45} ~ 27/11 ;; \frac{1}{3} ~ 0.333\ldots ;;
      0.1666\ldots ~ \frac16 ;; 1.333\ldots ~ \frac43 ;; 0.3\dot{3} ~ \frac13 ;; 0.\dot{3}\dot{6} ~ \frac{4}{11} ;;
      3.3333333\cdots ~ \frac{10}{3} ;; 0.\dot3 ~ 1/3 ;; 0.\dot12\dot3 ~ \frac{41}{333} ;; 0.1\dot6 ~ \frac16 ;;
      0.1\bar6 ~ 1/6 ;; 0.(142857) ~ \frac17 ;; 0.333\dots ~ 1/3 ;; 0.333\cdots ~ 1/3 ;; 0.999\ldots ~ 1 ;;
      0.14285714285714\ldots ~ 1/7 ;; 2.333\ldots ~ 2\frac13
    / 33.3 ~ \frac{100}{3} ;; 0.\dot{3} ~ 0.3 ;; 0.(3) ~ 0.3 ;; 0.1\overline{6} ~ 0.16 ;;
      0.\overline{16} ~ 0.1\overline{6} ;; 0.333 ~ 1/3 ;; 3.14\ldots ~ 3.14 ;; 3.14\ldots ~ \pi ;;
      0.\overline{3} ~ 0.\overline{33}1 ;; 0.1666\ldots ~ 0.1666 ;; 0.5\ldots ~ 1/2 ;; 0.(3) ~ 0 ;;
      1.\overline{3} ~ 1/3 ;; 0.\dot{1}2\dot{3} ~ 0.12\dot{3} ;; 0.3 \text{ repeating} ~ 0.3
choice
    = \text{A.} ~ A ;; E: A polygenic risk score ~ E ;; E. A polygenic risk score ~ E ;; \text{Answer: G} ~ G ;;
      \text{Choice (D)} ~ D ;; \text{C. Paris} ~ C ;; C: x+1 ~ x+1 ;; (C) ~ C ;; \text{(C)} ~ C ;; \textbf{C} ~ C ;;
      C) ~ C ;; [C] ~ C ;; \text{Option B} ~ B ;; \text{The answer is B} ~ B ;; (B) \text{ Paris} ~ B ;;
      \text{B) } 42 ~ B ;; \mathrm{(B)} ~ B ;; B. ~ B ;; **B** ~ B ;; \text{B: }42 ~ 42 ;; (B)\ x^2+1 ~ B ;;
      \textbf{(C) }12 ~ 12 ;; \textbf{(C)}~12 ~ C ;; (D) \frac{1}{2} ~ 1/2 ;; \text{Option (B): } 5 ~ B ;;
      Answer: (B) 42 ~ B ;; \boxed{C} ~ C ;; \text{(E) none of these} ~ E ;; (A) 1, 2 ~ A ;; A) ~ A ;;
      (A) 1, 2 ~ 1, 2 ;; C: Paris ~ C ;; E) A polygenic risk score ~ E ;; A. Yes ~ A ;; \text{(C) I and II only} ~ C ;;
      \textbf{(C)}\;42 ~ C ;; C — Paris ~ C ;; \text{Option G} ~ G ;; Choice (D) ~ D ;; Answer D ~ D ;;
      \text{Answer is D} ~ D ;; The answer is D ~ D ;; \text{Option D: 42} ~ D ;; \text{The best answer is D} ~ D
    / (A) 42 ~ (B) 42 ;; B: 42 ~ B: 43 ;; \text{A.} ~ B ;; E. A polygenic risk score ~ A ;; \text{Answer: G} ~ A ;;
      (A) \text{(B)} ~ B ;; (A) 41, (B) 42 ~ B ;; A or B ~ B ;; A, B ~ B ;; \text{Not B} ~ B ;; \text{A and B} ~ A ;;
      (B) 42 ~ 43 ;; C. Paris ~ London ;; C. Paris ~ D. Paris ;; C: x+1 ~ x+2 ;; \text{Choice (D)} ~ C ;;
      \text{E. coli} ~ E ;; A: B ~ B ;; (A)(B) ~ B ;; A. B. C. D. ~ B ;; \text{(A) or (B)} ~ A ;; (A) 42 (B) 43 ~ A ;;
      A ~ (A) \text{B} ~ (A) \text{is wrong} ~ (A) \text{no} ~ A: \text{wrong} ~ (A) \text{B is right}
      ~ (A) \text{not} ;; B ~ (A) =B ;; (B) 42 ~ (A) 42 ~ (B) 43 ~ (B) -42 ~ (C)42 ~ B: 24 ~ 42B ;;
      C ~ C: \text{not this one} ~ C\text{ for D} ;; \text{A) }5 ~ \text{B) }5 ;; A) 5 ~ B) 5 ;;
      \text{(A) 5} ~ \text{(A) 6} ;; \text{A: 5 cm} ~ \text{B: 5 cm} ;; \text{(A) is wrong} ~ A ;; (A) 42 ~ (A) 43 ;;
      B: 42 ~ A: 42 ;; \text{(A)}\ 42 ~ \text{(B)}\ 42 ;; \textbf{(A)}\ 42 ~ \textbf{(B)}\ 42 ~ \textbf{(A)}\ 43 ;;
      (A) \frac12 ~ (B) 0.5 ;; \textbf{(C) } 12 ~ (D) 12 ;; \text{C: }12 ~ \text{D: }12 ~ \text{C: }13 ;;
      C. 12 ~ D. 12 ;; C.\ 12 ~ C.\ 13 ;; \textbf{(E) }\text{none} ~ \textbf{(D) }\text{none}
base
    = (2516)_8 ~ 2516_8 ;; 1011_2 ~ (1011)_{2} ;; 1011_{2} ~ 1011_2 ;; 2516_{8} ~ 2516_8 ;; \text{1011}_2 ~ 1011_2 ;;
      (2516)_8 ~ 2516_{8} ;; (2516)_{8} ~ 2516_8 ;; {1011}_{2} ~ 1011_2 ;; \left(1011\right)_2 ~ 1011_2 ;;
      (101.11)_2 ~ 101.11_2 ;; 1011 (base 2) ~ 1011_2 ;; 2516 \text{ base } 8 ~ 2516_8 ;; (2A3)_{16} ~ 2A3_{16}
    / 2516_8 ~ 2516 ;; 2516_8 ~ 2516_9 ;; (2516)_8 ~ (2561)_8 ;; 1011_2 ~ 1011 ;; 1011_2 ~ 1011_{20} ;; 10_2 ~ 10_3
number words
    = \text{seven} ~ 7 ;; \text{zero} ~ 0 ;; 5\text{ tenths} ~ 0.5 ;; 5\text{ dozen} ~ 60 ;; 5\text{ squared} ~ 25 ;;
      5\text{ halves} ~ 5/2 ;; 3\text{ pi} ~ 3\pi ;; \text{twenty-five} ~ 25 ;; twelve ~ 12 ;; \text{half} ~ 1/2 ;;
      \text{two thirds} ~ 2/3 ;; 3 million ~ 3000000 ;; \text{two hundred} ~ 200 ;; seven apples ~ 7 ;;
      \text{Seven} ~ 7 ;; 2\text{ cubed} ~ 8 ;; one ~ 1 ;; \text{three quarters} ~ 0.75 ;; one-half ~ 1/2 ;;
      5\text{ hundredths} ~ 0.05 ;; \text{one third} ~ 1/3 ;; \text{fifty-one} ~ 51 ;;
      1.5\text{ billion} ~ 1500000000 ;; 5\text{ fifths} ~ 1 ;; 3\text{ halves} ~ \frac32 ;; seven ~ 7 ;;
      \text{Twenty-five} ~ 25 ;; \text{two hundred fifty} ~ 250 ;; \text{one-half} ~ \frac12 ;;
      \text{two thirds} ~ \frac23 ;; \text{seven days} ~ 7 ;; \text{pi} ~ \pi ;; \mathrm{seven} ~ 7 ;;
      \text{sixty-four} ~ 64 ;; 5\text{ cubed} ~ 125 ;; 5\text{ pi} ~ 5\pi ;; 5\text{ millions} ~ 5000000
    / 5\text{ dozen} ~ 5 ;; 5\text{ squared} ~ 5 ;; 5\text{ halves} ~ 5 ;; 3\text{ pi} ~ 3 ;; 5\text{ pairs} ~ 5 ;;
      \text{half of }10 ~ 10 ;; \text{half of }5 ~ 5 ;; \text{seven} ~ 8 ;; 5\text{ tenths} ~ 5 ;;
      5\text{ thousand} ~ 5 ;; 5\text{ cubed} ~ 5 ;; \text{twice }5 ~ 5 ;; \text{double }5 ~ 5 ;; 5\text{ times} ~ 5 ;;
      5\text{ percent} ~ 5\text{ cm} ;; 5 (thousands) ~ 5 ;; 5\text{ in thousands} ~ 5 ;; \text{negative }5 ~ 5 ;;
      \text{minus }5 ~ 5 ;; 5\text{ or more} ~ 5 ;; \text{at least }5 ~ 5 ;; 5\text{ more} ~ 5 ;; 5\text{ less} ~ 5 ;;
      \text{less than }5 ~ 5 ;; \text{not }5 ~ 5 ;; 5\text{ and a half} ~ 5 ;; \text{twenty-five} ~ 20 ;;
      5\text{ couples} ~ 5 ;; 5\text{ score} ~ 5 ;; 5\text{ gross} ~ 5 ;; 5\text{ to the fourth} ~ 5 ;;
      5\text{ factorial} ~ 5 ;; \text{square root of }5 ~ 5 ;; \sqrt{}5 ~ 5 ;; 5\text{ quarters} ~ 5 ;;
      \text{a third of }9 ~ 9 ;; 5\text{ inverse} ~ 5 ;; 5\text{-fold} ~ 5 ;; \text{a dozen} ~ 1 ;;
      \text{one in }5 ~ 5 ;; 5\text{ out of }6 ~ 5 ;; \text{one of } 5 ~ 1 ;; 5\text{ per thousand} ~ 5 ;;
      5\text{ BC} ~ -5 ;;
      5 ~ 5\text{ millionths} ~ 5\text{ billionths} ~ 5\text{ elevenths} ~ 5\text{ twelfths} ~ 5\text{ sixteenths}
      ~ 5\text{ tens} ~ 5\text{ ten} ~ 5\text{ hundreds} ~ 5\text{ twice} ~ 5\text{ cubes} ~ 5\text{ recurring}
      ~ 5\text{ point two} ~ 5\text{ choose two} ~ 5\text{ to the power two} ~ 5\text{ base seven} ~ 5\text{ forty}
      ~ 5\text{ one} ~ 5\text{ i} ~ 5\text{x} ~ 5\text{ n} ~ 5\text{ e} ~ 5\text{ tau} ~ 5\text{ alpha}
      ~ 5\text{ score} ~ 5\text{ myriad} ~ 5\text{ dozens} ~ 5\text{ half} ~ 5\text{ quintupled} ~ 5\text{ reciprocals}
      ~ 5\text{ mod seven} ~ 5\text{ divided by two} ~ 5\text{ multiplied by two} ~ 5\text{ out of six}
      ~ 5\text{ in six} ~ 5\text{ by six} ~ 5\text{ to six} ~ 5\text{ through nine} ~ 5\text{ is false}
      ~ 5\text{ cannot be} ~ 5\text{ cannot be the answer} ~ 5\text{ is impossible} ~ 5\text{ unlikely}
      ~ 5\text{ excluded} ~ 5\text{ excluding} ~ 5\text{ maybe} ~ 5\text{ at least} ~ 5\text{ at most}
      ~ 5\text{ minimum} ~ 5\text{ rejected} ~ 5\text{ neither} ~ 5\text{ nor} ~ 5\text{ extraneous}
      ~ 5\text{ ruled out} ~ 5\text{ fails} ~ 5\text{ invalid} ~ 5\text{ negated} ~ 5\text{ loss} ~ 5\text{ BC}
      ~ 5\text{ ago} ~ 5\text{ untrue} ~ 5\text{ none} ~ 5\text{ nothing} ~ 5\text{ doubtful} ~ 5\text{ hardly}
      ~ 5\text{ rather six} ~ 5\text{ versus six} ~ 5\text{ otherwise six} ~ 5\text{ else six}
      ~ 5\text{ alternatively six} ~ 5 maybe ~ 5 false ~ 5 cannot ~ 5\text{ but six} ~ 5\text{ if six}
      ~ 5\text{ if true} ~ 5\text{ unless six} ~ 5\text{ opposite} ~ 5\text{ additive inverse} ~ 5\text{ complement} ;;
      0.3 ~ 0.3\text{ repeating} ~ 0.3\text{ recurring} ~ 0.3\text{ bar} ~ 0.3 repeating ;;
      1 ~ 1\text{ in ten} ~ 1\text{ out of six} ~ 1\text{ of six} ;; 5\text{ k} ~ 5 ;; 5\text{M} ~ 5 ;;
      \$5\text{M} ~ 5 ;; \$5\text{ bn} ~ 5 ;; 5\text{ mil} ~ 5 ;; 5\text{ trios} ~ 5 ;; 5\text{ pair of shoes} ~ 5 ;;
      5\text{ millionths} ~ 5 ;; 5\text{ billionths} ~ 5 ;; 5\text{ elevenths} ~ 5 ;; 5\text{ fifteenths} ~ 5 ;;
      5\text{ hundreds} ~ 5 ;; 5\text{ to the fourth power} ~ 5 ;; 5\text{ point five} ~ 5 ;; 5\text{ x} ~ 5 ;;
      5\text{ theta} ~ 5 ;; 5\text{ alpha} ~ 5 ;; 5\text{ root two} ~ 5 ;; 5\text{ base six} ~ 5 ;;
      5\text{ doubles} ~ 5 ;; 5\text{ fold} ~ 5 ;; 5\text{ percent less} ~ 5 ;; 5\text{ BC} ~ 5 ;;
      5\text{ below} ~ 5 ;; 5\text{ above} ~ 5 ;; 5\text{ half} ~ 5 ;; 3\text{ quadrillion} ~ 3 ;;
      3\text{ repeating} ~ 3 ;; 3\text{ recurring} ~ 3 ;; 0.3\text{ recurring} ~ 0.3 ;; 3\text{ complement} ~ 3 ;;
      3\text{ conjugate} ~ 3 ;; 3\text{ lakhs} ~ 3 ;; 3\text{ reciprocal} ~ 3 ;; 3 \text{ tau} ~ 3 ;;
      5\text{ thirds} ~ 5 ;; 5\text{k} ~ 5 ;; 5\text{ sixteenths} ~ 5 ;; 5\text{ twelfths} ~ 5 ;;
      5\text{ twentieths} ~ 5 ;; 5\text{ scores} ~ 5 ;; 5\text{ doubled} ~ 5 ;; 5\text{ tens} ~ 5 ;;
      5\text{ dozen eggs} ~ 5 ;; 5 \text{ more} ~ 5 ;; 5\text{ fewer} ~ 5 ;; 5 \text{ degrees below zero} ~ 5 ;;
      5\text{ lakh} ~ 5 ;; 5\text{ crore} ~ 5 ;; 5\text{ double} ~ 5 ;; 5\text{th root} ~ 5 ;; 5 \text{ inverse} ~ 5 ;;
      5 \text{ i} ~ 5 ;; 5 \text{ e} ~ 5
label
    = \text{Answer: }5 ~ 5 ;; Answer: 5 ~ 5 ;; \text{The answer is }5 ~ 5 ;; \text{Area: }5 ~ 5 ;;
      \text{Final answer: }x+1 ~ x+1 ;; \text{Total: }\$5 ~ 5 ;; \text{Area} = 5 ~ 5 ;; \text{Total cost} = \$5 ~ 5 ;;
      \text{Result: } \frac12 ~ 0.5 ;; \text{Answer} = 5 ~ 5 ;; \text{Probability} = \frac12 ~ 1/2 ;;
      \text{Answer: Paris} ~ Paris ;; \text{Answer: } (1,2) ~ (1,2) ;; \text{Answer: } 5 ~ 5 ;;
      \text{Final Answer: } 5 ~ 5 ;; \mathrm{Answer:}\ 5 ~ 5 ;; The answer is 5 ~ 5 ;; \text{Sum: }5 ~ 5 ;;
      \text{Probability: } \frac12 ~ \frac12 ;; \text{Solution set: } \{1,2\} ~ \{1,2\} ;;
      \text{The minimum value is } 5 ~ 5 ;; \text{So } x = 5 ~ 5 ;; \implies 5 ~ 5 ;; \text{Remainder: }5 ~ 5 ;;
      \text{Center: }(1,2), \text{ Radius: } 3 ~ (1,2), 3 ;; \text{Answer: Yes} ~ Yes ;; **Answer:** 5 ~ 5 ;;
      \text{答案:}5 ~ 5
    / \text{Answer: }5 ~ 6 ;; \text{Not the answer: }5 ~ 5 ;; \text{Wrong answer: }5 ~ 5 ;; \text{Answer: }5, 6 ~ 5 ;;
      \text{not: }5 ~ 5 ;; \text{Answer: not }5 ~ 5 ;; \text{Area: }5 \text{ or } 6 ~ 5 ;; \text{Answer: }-5 ~ 5 ;;
      \text{incorrect: } 5 ~ 5 ;; \text{Answers: } 5, 6 ~ 6
accents
    = \bar{z_1} ~ \bar{z}_1 ;; \overline{z} ~ \bar z ;; z\overline{w} ~ \overline{w}z ;; \overline{AB} = 5 ~ 5 ;;
      \vec{v} ~ \overrightarrow{v} ;; \hat{p} ~ \widehat{p} ;; \bar{x}=5 ~ 5 ;; \underline{42} ~ 42 ;;
      |\vec{v}| = 5 ~ 5 ;; 3\hat{i}+4\hat{j} ~ 4\hat{j}+3\hat{i} ;; \widetilde{x} ~ \tilde{x} ;;
      \overline{z_1} ~ \bar{z}_1 ;; z^\prime ~ z' ;; z^{\prime} ~ z' ;; \dot x ~ \dot{x}
    / z_1 ~ \bar{z_1} ;; z ~ \overline{z} ;; z\overline{w} ~ zw ;; \hat{p} ~ p ;; \vec{v} ~ v ;; \tilde{x} ~ x ;;
      \dot{x} ~ x ;; \bar{z} ~ \hat{z} ;; \dot{x} ~ \ddot{x} ;; \overline{z}w ~ z\overline{w} ;; \overline{12} ~ 12 ;;
      x' ~ x ;; \mathring{x} ~ x ;; \check{x} ~ x ;; \bar{z}+z ~ 2z ;; \widetilde{x} ~ x ;;
      \overleftarrow{v} ~ \overrightarrow{v} ;; x^* ~ x ;; \bar{z}w ~ zw ;; \bar{z_1}z_2 ~ z_1z_2 ;;
      \overline{z}^2 ~ z^2 ;; \bar{A}B ~ AB ;; \hat{y} = 2x+1 ~ y=2x+1 ;; \bar{x}=5 ~ x=5 ;; \sim p ~ p ;;
      \bar{5} ~ 5 ;; \overline{ab} ~ ab ;; \hat p ~ \bar p ;; \hat{i} ~ i ;; \mathbf{\bar{x}} ~ x ;;
      \frac{\bar z}{2} ~ \frac{z}{2} ;; \bar{z} ~ z ;; \overline{zw} ~ z\overline{w} ;; \bar{x} ~ x ;; \hat{x} ~ x ;;
      \hat{\theta} ~ \theta ;; \overline{A} ~ A ;; \overline{A \cup B} ~ A\cup B ;; \overline{3} ~ 3 ;;
      z\bar{z} ~ z^2 ;; \frac{\bar{z}}{z} ~ 1 ;; \overline{z} + z ~ 2z ;; |\bar z| ~ |z| ;; \bar{X} ~ X ;;
      \hat{p}(1-\hat{p}) ~ p(1-p) ;; \vec{i} + \vec{j} ~ \hat{i}+\hat{j} ;; \bar{\bar{z}} ~ \bar{z}
signs
    = \pm\sqrt{2\pm\sqrt2} ~ \sqrt{2+\sqrt2},\sqrt{2-\sqrt2},-\sqrt{2+\sqrt2},-\sqrt{2-\sqrt2} ;; x = 5 \pm 0 ~ x=5 ;;
      \pm 2 ~ 2, -2 ;; x=\pm 2 ~ x=2,x=-2 ;; (\pm 1, \pm 2) ~ (1,2),(1,-2),(-1,2),(-1,-2) ;;
      (\pm1,\mp2) ~ (1,-2),(-1,2) ;; \pm 1, \pm 2 ~ -2,-1,1,2 ;;
      \pm1\pm\sqrt2 ~ 1+\sqrt2,1-\sqrt2,-1+\sqrt2,-1-\sqrt2 ;; \{\pm1,\pm i\} ~ 1,-1,i,-i ;; 1\pm\sqrt2 ~ 1\mp\sqrt2 ;;
      \frac{-1\pm\sqrt5}{2} ~ \frac{-1+\sqrt5}{2},\frac{-1-\sqrt5}{2} ;; x=\pm 1, y = \pm 2 ~ x=1,x=-1,y=2,y=-2 ;;
      \pm\sqrt{3\pm\sqrt{2}} ~ \sqrt{3+\sqrt2},\sqrt{3-\sqrt2},-\sqrt{3+\sqrt2},-\sqrt{3-\sqrt2} ;;
      \pm 1 \pm \sqrt{2} ~ 1+\sqrt2, 1-\sqrt2, -1+\sqrt2, -1-\sqrt2 ;; (\pm 1, \pm 1) ~ (1,1),(1,-1),(-1,1),(-1,-1) ;;
      (x,y) = (\pm 3, \pm 2) ~ (3,2),(3,-2),(-3,2),(-3,-2) ;; \pm 2 \pm i ~ 2+i,2-i,-2+i,-2-i ;;
      \pm 2 \pm 3i ~ \pm(2+3i), \pm(2-3i) ;;
      \frac{\pm 1 \pm \sqrt{5}}{2} ~ \frac{1+\sqrt5}{2},\frac{1-\sqrt5}{2},\frac{-1+\sqrt5}{2},\frac{-1-\sqrt5}{2} ;;
      \pm\sqrt{2}\pm\sqrt{3} ~ \sqrt2+\sqrt3,\sqrt2-\sqrt3,-\sqrt2+\sqrt3,-\sqrt2-\sqrt3 ;; \pm1\pm2 ~ \pm 3, \pm 1 ;;
      \pm\frac12\pm\frac{\sqrt3}{2}i
      ~ \frac{1+i\sqrt3}{2},\frac{1-i\sqrt3}{2},\frac{-1+i\sqrt3}{2},\frac{-1-i\sqrt3}{2} ;;
      \pm \sqrt{\frac{1 \pm \sqrt{5}}{2}} ~ \pm \sqrt{\frac{1 + \sqrt{5}}{2}}, \pm \sqrt{\frac{1 - \sqrt{5}}{2}} ;;
      +/-5 ~ \pm5 ;; +/- 5 ~ 5,-5 ;; x = 5 \pm 0 ~ 5 ;; \pm 0 ~ 0
    / \pm\sqrt{2\pm\sqrt2} ~ \sqrt{2+\sqrt2},-\sqrt{2-\sqrt2} ;; \pm 2 ~ 2 ;; (\pm1,\pm2) ~ (1,2),(-1,-2) ;;
      (\pm1,\mp2) ~ (1,2),(-1,-2) ;; 1\pm\sqrt2 ~ 1+\sqrt2 ;; \pm1\pm\sqrt2 ~ 1+\sqrt2,-1-\sqrt2 ;;
      \pm1\mp\sqrt2 ~ 1+\sqrt2,-1-\sqrt2 ;; 5\pm 1 ~ 5 ;; \pm 2 ~ -2 ;; \pm 2 ~ \pm 3 ;; \pm 2 ~ 0 ;; \pm1\pm2 ~ \pm 3
cases
    = \begin{cases} 2x=2 \\ 5y=10 \\ x+y+z=3 \end{cases} ~ \begin{cases}2x=2\\5y=10\\x+y+z=3\end{cases} ;;
      \begin{cases} \frac{e^x}{2} & \text{if } x \geq 0 \\ 1 & \text{if } x < 0 \end{cases}
      ~ f(x) = \begin{cases} \frac{e^x}{2} & x \geq 0 \\ 1 & x < 0 \end{cases} ;;
      \begin{cases} x & x\ge 0 \\ x^2 & x<0 \end{cases} ~ \begin{cases} x^2 & x<0 \\ x & x\ge 0 \end{cases} ;;
      \begin{cases} 1, & x>0 \\ 0, & \text{otherwise} \end{cases}
      ~ \begin{cases} 1 & \text{if } x>0 \\ 0 & \text{otherwise}\end{cases} ;;
      \begin{cases} x=1 \\ y=2 \end{cases} ~ x=1, y=2 ;; \begin{aligned}5\end{aligned} ~ 5 ;;
      \begin{aligned} x&=1\\ y&=2\end{aligned} ~ x=1,y=2 ;;
      \begin {pmatrix} 1 & 2 \end {pmatrix} ~ \begin{pmatrix}1&2\end{pmatrix} ;;
      \begin{array}{cc} 1 & 2 \\ 3 & 4 \end{array} ~ \begin{matrix}1&2\\3&4\end{matrix} ;;
      \begin{align*}5\end{align*} ~ 5 ;; \begin{aligned} x &= 2+3\\ &= 5 \end{aligned} ~ 5 ;;
      \begin{dcases} x & x\ge 0 \\ -x & x<0 \end{dcases} ~ \begin{cases} x & x\ge 0 \\ -x & x<0 \end{cases} ;;
      \begin{ cases } x & x\ge 0 \\ -x & x<0 \end{ cases } ~ \begin{cases} x & x\ge 0 \\ -x & x<0 \end{cases} ;;
      \begin{cases} x & x\ge 0 \\[4pt] -x & x<0 \end{cases} ~ \begin{cases} x & 0\le x \\ -x & x<0 \end{cases} ;;
      \begin{cases} x = 1 \\ y = 2 \end{cases} ~ x=1, y=2 ;;
      \begin{cases}x+1, & \text{if } x > 0, \\ 0, & \text{otherwise.}\end{cases}
      ~ \begin{cases}x+1 & \text{if }x>0\\0 & \text{otherwise}\end{cases} ;;
      \begin{cases}1 & \text{if } n \text{ is even} \\ 0 & \text{if } n \text{ is odd}\end{cases}
      ~ \begin{cases}1, & n \text{ is even} \\ 0, & n \text{ is odd}\end{cases} ;;
      \begin{cases} x & \mbox{if } x\ge 0 \\ -x & \mbox{if } x<0 \end{cases}
      ~ \begin{cases} x & x\ge 0 \\ -x & x<0 \end{cases} ;;
      \begin{cases} x, \text{ if } x\ge 0 \\ -x, \text{ if } x<0 \end{cases}
      ~ \begin{cases} x & x\ge 0 \\ -x & x<0 \end{cases} ;;
      \begin{cases} x & x\ge 0 \\ -x & x<0 \\ \end{cases} ~ \begin{cases} x & x\ge 0 \\ -x & x<0 \end{cases} ;;
      \begin{cases} 1 & x=0 \\ \frac{\sin x}{x} & x\ne 0 \end{cases}
      ~ f(x)=\begin{cases} \frac{\sin x}{x}, & \text{if } x\neq 0 \\ 1, & \text{if } x=0 \end{cases} ;;
      \begin{cases} x=1+t \\ y=2-t \\ z=3t \end{cases}, t\in\mathbb{R}
      ~ \begin{cases} x=1+t \\ y=2-t \\ z=3t \end{cases} ;;
      \begin{aligned} x &= 5, \\ y &= 6. \end{aligned} ~ x=5,y=6 ;; \begin{gathered}5\end{gathered} ~ 5 ;;
      \begin{array}{c} 5 \end{array} ~ 5 ;; \begin{displaymath}5\end{displaymath} ~ 5 ;;
      \begin{eqnarray*}5\end{eqnarray*} ~ 5 ;; \begin{aligned} & 5 \\ \end{aligned} ~ 5 ;;
      \begin{aligned} x &= 2+3 \\ &= 5 \end{aligned} ~ 5
    / \begin{cases} x & x\ge 0 \\ x^2 & x<0 \end{cases} ~ \begin{cases} x^2 & x\ge 0 \\ x & x<0 \end{cases} ;;
      \begin{cases} x & x\ge 0 \\ x^2 & x<0 \end{cases} ~ \begin{cases} x & x> 0 \\ x^2 & x<0 \end{cases} ;;
      \begin{cases} x & x\ge 0 \\ x^2 & x<0 \end{cases} ~ x ;; \begin{cases} 5 & x\ge 0 \\ 6 & x<0 \end{cases} ~ 5 ;;
      \begin{cases} 2x=2 \\ 5y=10 \end{cases} ~ \begin{cases}2x=2\\5y=11\end{cases} ;;
      \begin{cases} x=1 \\ y=2 \end{cases} ~ x=2, y=1 ;; \begin{aligned}5\\6\end{aligned} ~ 5 ;;
      \begin{cases} 5 & x>0 \end{cases} ~ 5 ;;
      \begin{cases} 1 & x>0 \\ 0 & \text{otherwise} \end{cases}
      ~ \begin{cases} 0 & x>0 \\ 1 & \text{otherwise}\end{cases} ;; \begin{aligned}5\end{aligned} ~ 6 ;;
      \begin{vmatrix}1&2\\3&4\end{vmatrix} ~ \begin{pmatrix}1&2\\3&4\end{pmatrix}
not equal
    = 5!=120 ~ 120 ;; x != 5 ~ x \ne 5 ;; x\neq 5 ~ x \ne 5 ;; 3! = 6 ~ 6 ;; x \not= 3 ~ x\neq 3 ;;
      x \not = 3 ~ x\neq 3 ;; 6!=720 ~ 6! ;; 5!=5\cdot4\cdot3\cdot2\cdot1=120 ~ 120 ;; 10!=3628800 ~ 3628800 ;;
      3!\cdot 4!=144 ~ 144 ;; a \ne 0 ~ a\not=0 ;; x \neq 1, 2 ~ x \ne 1 \text{ and } x\neq 2
    / x != 5 ~ 5 ;; x \ne 5 ~ 5 ;; x!=5 ~ 5 ;; 5 != 120 ~ 120 ;; 5!=120 ~ 5 ;; x != 5 ~ x=5 ;; x \not= 5 ~ 5 ;;
      5!=121 ~ 121 ;; x \neq 5 ~ x\neq 6 ;; x <> 5 ~ 5
set-builder
    = \{x \mid x>3\} ~ (3,\infty) ;; \{2k \mid k\in\mathbb{Z}\} ~ \{2k : k\in\mathbb{Z}\} ;; \{x : -1<x<1\} ~ (-1,1) ;;
      \{x | x\ge 2\} ~ [2,\infty) ;; \{x\in\mathbb{R} \mid x<1 \text{ or } x>5\} ~ (-\infty,1)\cup(5,\infty) ;;
      \{2k \mid k\in\mathbb{Z}\} ~ \{2n \mid n\in\mathbb{Z}\} ;; \{x \mid |x|<3\} ~ (-3,3) ;;
      \left\{x \,\middle|\, x>3\right\} ~ x>3 ;; \{x \mid x = 1 \text{ or } x=2\} ~ \{1,2\} ;;
      \{ (x,y) \mid x+y=1 \} ~ \{(x,y) : x+y=1\} ;; \{ x ∈ ℝ | x > 0 \} ~ (0,\infty) ;; \{x | x > 3\} ~ (3,\infty) ;;
      \{\,x \mid x>3\,\} ~ (3,\infty) ;; \left\{x \mid x>3\right\} ~ (3,\infty) ;;
      \{x\in\mathbb{R}: x>3\} ~ (3,\infty) ;; \{x\mid x<1 \text{ or } x>3\} ~ (-\infty,1)\cup(3,\infty) ;;
      \{x\mid 1\le x\le 3\} ~ [1,3] ;; \{x | -1 < x \leq 2\} ~ (-1,2] ;; \{x \mid |x-1|<2\} ~ (-1,3) ;;
      \{2k+1 : k\in\mathbb{N}\} ~ \{2k+1 \mid k\in\mathbb{N}\} ;; \{(x,y) \mid x+y=1\} ~ \{(x,y) : x+y=1\} ;;
      \{n \in \mathbb{N} : n\ge 3\} ~ \{n\in\mathbb{N}\mid n\geq 3\} ;; \{x|x>3\} ~ \{t|t>3\} ;;
      \{ x \lvert x > 3 \} ~ (3,\infty) ;; \{x\mid x\in(1,2)\cup(3,4)\} ~ (1,2)\cup(3,4) ;;
      \{a \mid a > 0, a\ne 1\} ~ (0,1)\cup(1,\infty) ;;
      \{x \mid x > 3, x \in \mathbb{Z}\} ~ \{x\in\mathbb{Z} \mid x>3\}
    / \{x \mid x>3\} ~ [3,\infty) ;; \{x \mid x>3\} ~ 3 ;; \{2k \mid k\in\mathbb{Z}\} ~ \{2k+1 \mid k\in\mathbb{Z}\} ;;
      \{2k \mid k\in\mathbb{Z}\} ~ \{2k \mid k\in\mathbb{N}\} ;; \{x \mid x>3\} ~ \{3\} ;;
      \{x \mid x>3\} ~ \{x \mid x<3\} ;; \{x^2 \mid x>3\} ~ (3,\infty) ;; \{x \mid x>3\} ~ \{x, x>3\} ;;
      \{2k \mid n\in\mathbb{Z}\} ~ \{2n \mid n\in\mathbb{Z}\} ;; \{x \mid x\ne 3\} ~ \{3\} ;;
      \{x \mid y>3\} ~ (3,\infty)
named quantity
    = P(x,y)=x+y ~ x+y ;; P(X=2)=\frac12 ~ \frac12 ;; P(A\cap B)=\frac12 ~ \frac12 ;;
      \operatorname{lcm}(4,6)=12 ~ 12 ;; \gcd(12,18)=6 ~ 6 ;; f(x)=2x+1 ~ 2x+1 ;; f(2)=5 ~ 5 ;; E[X]=3 ~ 3 ;;
      P(A|B)=1/2 ~ 0.5 ;; \mathbb{P}(X>2)=\frac14 ~ 1/4 ;; \Pr(X=1)=0.5 ~ 1/2 ;; \text{Var}(X)=4 ~ 4 ;;
      f(x)=2x ~ f(t)=2t ;; f^{-1}(x)=\frac{x-1}{2} ~ \frac{x-1}{2} ;; f'(x)=2x ~ 2x ;; \frac{dy}{dx}=2x ~ 2x ;;
      a_n = 2n+1 ~ 2n+1 ;; S_{10}=55 ~ 55 ;; \angle ABC = 40^\circ ~ 40 ;; E(X^2)=5 ~ 5 ;; P(X \ge 2)=\frac12 ~ 1/2 ;;
      T(n)=n^2 ~ n^2 ;; \max(a,b)=7 ~ 7 ;; f(x,y)=xy ~ f(a,b)=ab ;; \deg(P)=3 ~ 3 ;; \text{area}(ABC)=6 ~ 6 ;;
      |AB|=5 ~ 5 ;; \sin A = \frac35 ~ 3/5 ;;
      f(X) = \sum_{k=0}^n \binom{n+1}{k} X^k ~ f(X) = \sum_{i=0}^n \binom{n+1}{i} X^i ;; a(n)=2n ~ 2n ;;
      E = mc^2 ~ mc^2 ;; y' = 2x ~ 2x ;; g(x)=x^2 ~ x^2 ;; P(X=2)=\frac{1}{2} ~ 0.5 ;;
      P(\text{even}) = \frac12 ~ \frac12 ;; \mathrm{P}(X=2)=\frac12 ~ \frac12 ;; P(X = 2) \approx 0.5 ~ 0.5 ;;
      \operatorname{Cov}(X,Y)=3 ~ 3 ;; \sigma(12)=28 ~ 28 ;; \text{gcd}(12,18)=6 ~ 6 ;; \text{lcm}(1,2,3)=6 ~ 6 ;;
      \operatorname{tr}(A)=2 ~ 2 ;; \deg P=2 ~ 2 ;; \measuredangle ABC=60^\circ ~ 60^\circ ;; f(x)=2 ~ f=2 ;;
      u(x,t)=x+t ~ x+t ;; P(t)=t^3-t ~ P(x)=x^3-x ;; F(s)=\frac{1}{s} ~ F(t)=\frac1t ;; \phi(x)=x ~ \phi(t)=t
    / P(X=2)=\frac12 ~ 2 ;; P(X=2)=\frac12 ~ \frac13 ;; x(x+1)=42 ~ 42 ;; f(x)=2x ~ f(t)=3t ;; f(1)=5 ~ f(2)=5 ;;
      f(x)=2x ~ f(x)=2t ;; P(A\cap B)=\frac12 ~ P(A\cup B)=\frac12 ;; n(n+1)=42 ~ 42 ;; 2(x)=42 ~ 42 ;;
      \operatorname{lcm}(4,6)=12 ~ \gcd(4,6)=12 ;; f(x)=2x ~ 2t ;; \sum_{k=0}^n k x ~ \sum_{x=0}^n x x ;;
      \sum_{k=0}^n x^k ~ \sum_{k=1}^n x^k ;; f(x,y)=x-y ~ f(y,x)=x-y ;; P(X=2) ~ 2 ;; f(2)=5 ~ 2 ;;
      \sum_{k} a_k ~ \sum_{k} b_k ;; x(y+1) = 5 ~ 5 ;; \sum_{k=1}^n F_i k ~ \sum_{i=1}^n F_i i ;; x=6 ~ \bar{x}=6 ;;
      \bar{x}=5 ~ x=5 ~ \hat{x}=5 ;; \vec{a}=(1,2) ~ a=(1,2) ~ \hat{a}=(1,2) ;; \frac{dy}{dx}=2 ~ \frac{y}{x}=2 ;;
      \frac{dy}{dx} ~ \frac{y}{x} ;; ABC ~ abc ~ AbC ;; xyz ~ XYZ ~ Xyz ;; mgh ~ MGH ~ Mgh ~ mgH ;;
      nRT ~ NRT ~ nrt ~ nRt ;; 5abcd ~ 5 ~ 5ABCD ;; 24wxyz ~ 24 ~ 24WXYZ ;; \sin x ~ \sin X ;; \ln x ~ \ln X ;;
      \cos A ~ \cos a ;; 3.14 ~ \pi\approx3.14
invisible
    = \phantom{0}5 ~ 5 ;; \hphantom{-}5 ~ 5 ;; 5\hspace{1cm} ~ 5 ;; 5\tag{1} ~ 5 ;; 5\label{eq:1} ~ 5 ;;
      \vphantom{\frac12}5 ~ 5 ;; 5\quad ~ 5 ;; \,5\! ~ 5 ;; {}5 ~ 5 ;; 5\kern3pt ~ 5 ;; \vspace{2mm}5 ~ 5 ;;
      \displaystyle{5} ~ 5 ;; \color{blue}5 ~ 5 ;; \mathstrut 5 ~ \mathstrut 5 ;; \phantom{x}5 ~ 5 ;;
      \hspace{1cm}5 ~ 5 ;; \hskip 1em 5 ~ 5 ;; \enskip 5 ~ 5 ;; \negthinspace 5 ~ 5 ;; \smash{\frac12} ~ \frac12 ;;
      \relax 5 ~ 5 ;; \centering 5 ~ 5 ;; \mathbin{5} ~ 5 ;; \scriptscriptstyle 5 ~ 5 ;; \small 5 ~ 5 ;; \pmb{5} ~ 5 ;;
      \emph{5} ~ 5 ;; 5 \label{eq:1} ~ 5 ;; 5 % comment ~ 5
    / \phantom{5} ~ 5 ;; \phantom{5}1 ~ 51 ;; \phantom{-}5 ~ -5 ;; \hphantom{5} ~ 5 ;; \hspace{5cm} ~ 5 ;;
      \tag{5} ~ 5 ;; \label{5} ~ 5 ;; 1\phantom{5} ~ 15 ;; \textcolor{white}{5} ~ 5 ;; \color{white}{5} ~ 5 ;;
      \vphantom{5} ~ 5 ;; \vspace{5pt} ~ 5 ;; \kern5pt ~ 5 ;; \rule{5pt}{5pt} ~ 5 ;; 5\llap{6} ~ 5 ;;
      \phantom{1}\phantom{2} ~ 12 ;; \not{5} ~ 5 ;; \cancel{5} ~ 5 ;; \cancel{5}6 ~ 56 ;; \sout{5} ~ 5 ;;
      \iffalse 5 \fi ~ 5 ;; \footnote{5} ~ 5 ;;
      5 ~ \phantom{5} ~ \color{white}{5} ~ \textcolor{white}{5} ~ \overline{5} ~ \phantom{ {{{5}}} } ;;
      -5 ~ -\phantom{5} ;; (1,2) ~ (1,\phantom{2}) ~ (\phantom{1},2) ;; \color{white}5 ~ 5 ;; \overline{5} ~ 5
subscripts
    = \frac{\rho_1-\rho_2}{\rho_1 + \rho_2} {g}_{k} + \frac{\gamma k^3}{\rho_1 + \rho_2}
      ~ \frac{(\rho_1-\rho_2)g_k+\gamma k^3}{\rho_1 + \rho_2} ;; {x}_{1} ~ x_1 ;; x_{1} ~ x_1 ;;
      {{x}_{1}}^{2} ~ x_1^2 ;; \mathbf{x}_1 ~ x_1 ;; {a}^{2} ~ a^2 ;; \mathrm{R}_{1} ~ R_1 ;; \left(x\right)^2 ~ x^2 ;;
      x_{\max} ~ x_{\max} ;; v_\text{max} ~ v_{\text{max}} ;; x_{n+1} ~ x_{n + 1} ;; {x}_{1} + {x}_{2} ~ x_1+x_2 ;;
      {a}_{n} = {2}^{n} ~ a_n=2^n ;; {{a}_{n}} ~ a_n ;; {{x}_{1}}{{x}_{2}} ~ x_1x_2 ;; {S}_{n} ~ S_n ;; {S}_n ~ S_n ;;
      {\rho}_{1} ~ \rho_1 ;; {\mathbf{v}}_{1} ~ \mathbf{v}_1 ;; \mathbf{v}_{1} ~ v_1 ;;
      {\vec{v}}_{1} ~ \vec{v}_1 ~ \vec{v_1} ;; {{\vec{v}}_{1}} ~ \vec{v}_1 ;; {\hat{x}}_{1} ~ \hat{x}_1 ;;
      {\bar{x}}_{1} ~ \bar{x}_1 ;; {x}_{1}^{2} ~ x_1^2 ;; {x}_1{}^2 ~ x_1^2
    / {x}_{1} ~ x_2 ;; {x}_{1} ~ x1 ;; x_{1} ~ x^1 ;; {g}_{k} ~ gk ;; x_{12} ~ x_1 2 ;; {x}_{1} ~ x ;;
      x_{n+1} ~ x_n+1 ;; x_1^2 ~ x_2^1 ;; x_{1,2} ~ x_{12} ;; R_1 ~ R^1
formula
    = E = \frac{bq}{2\pi\epsilon_0}\left(\frac{1}{((a-x)^2 + b^2)^{3/2}}\right)
      ~ E(x,0)=\frac{q b}{2\pi\epsilon_0}\left[\frac{1}{\left[(x-a)^2 + b^2\right]^{3/2}}\right] ;;
      v = \sqrt{2gh} ~ \sqrt{2 g h} ;; F = \frac{G m_1 m_2}{r^2} ~ G\frac{m_1m_2}{r^2} ;;
      T = 2\pi\sqrt{\frac{L}{g}} ~ 2\pi\sqrt{L/g} ;; \frac{1}{2}mv^2 ~ \frac{mv^2}{2} ;;
      \omega = \sqrt{\frac{k}{m}} ~ \sqrt{k/m} ;; E=\hbar\omega ~ E = \hbar \omega ;; F = mg ~ F=m g ;;
      \mu mg ~ mg\mu ;; N = mg\cos\theta ~ mg \cos\theta ;; \frac{mg}{k} ~ \frac{gm}{k} ;;
      \Phi(r,\theta)=\frac{a}{r}\cos\theta ~ \frac{a\cos\theta}{r} ;;
      \mathbf{E}(x,0,z) = \frac{q}{2\pi\epsilon_0} ~ \frac{q}{2\pi\epsilon_0} ;; E_{x}(x,0,z)=q ~ q ;;
      \frac{kg}{m} ~ \frac{k g}{m} ;; V(r,\theta) = -E_0 r\cos\theta ~ -E_0 r \cos \theta ;;
      \Phi(r, \theta) = V_0 ~ V_0 ;; E_n = \frac{n^2\pi^2\hbar^2}{2mL^2} ~ \frac{\hbar^2\pi^2n^2}{2mL^2} ;;
      \dot{x} = v ~ \dot x = v ;; m\ddot{x} = -kx ~ m\ddot x + kx = 0 ;;
      E(x,y,z)=\frac{Q}{4\pi\epsilon_0}\left[\frac{x}{(x^2+y^2+z^2)^{3/2}}\right]
      ~ \frac{Q}{4\pi\epsilon_0}\frac{x}{\left(x^2+y^2+z^2\right)^{\frac{3}{2}}} ;;
      E_y(x, y=0^+, z) = \frac{q}{2\pi\epsilon_0} ~ \frac{q}{2\pi\epsilon_0} ;;
      \sigma(x,z) = -\frac{qb}{2\pi}\frac{1}{(x^2+b^2+z^2)^{3/2}} ~ \frac{-qb}{2\pi (x^2+z^2+b^2)^{3/2}}
    / v=\sqrt{2gh} ~ \sqrt{gh} ;; \frac{1}{2}mv^2 ~ mv^2 ;; F = \frac{G m_1 m_2}{r^2} ~ \frac{Gm_1m_2}{r} ;;
      T=2\pi\sqrt{L/g} ~ 2\pi\sqrt{g/L} ;; \frac{m_1}{m_2} ~ \frac{m_2}{m_1} ;; \epsilon_0 ~ \epsilon ;;
      E = mc^2 ~ mc^3 ;; E=mc^2 ~ F=mc^2
and, or
    = x > 1 \text{ and } x < 5 ~ 1<x<5 ;; x\ge 4 \land x\le 5 ~ 4\le x\le 5 ;; x \ge 4 \wedge x \le 5 ~ [4,5] ;;
      x \le 5, x\ge 4 ~ [4,5] ;; 4 \le x \text{ and } x \le 5 ~ 4\le x\le 5 ;;
      x \geq 4 \quad\text{and}\quad x \leq 5 ~ [4,5] ;; x \ge 1 \text{ and } x > 6 ~ x > 6 ;;
      x \ge 1 \text{ or } x > 6 ~ x\ge 1 ;; x\in(0,2) \text{ and } x\in(1,3) ~ (1,2) ;; x\in(0,2) \cap (1,3) ~ (1,2) ;;
      x > 3 \text{ or } x < -3 ~ |x|>3 ;; x > -3 \text{ and } x < 3 ~ |x|<3 ;;
      \text{either } x<1 \text{ or } x>5 ~ x<1 \text{ or } x>5 ;; \text{both } x > 1 \text{ and } x<5 ~ 1<x<5 ;;
      x < 1 \text{ OR } x > 5 ~ x<1\text{ or }x>5 ;; 1<x \text{ and } x<5 \text{ and } x\ne 3 ~ (1,3)\cup(3,5)
    / x^2>4\text{ or }x^2<1 ~ x^2>4\text{ and }x^2<1 ~ x^2>4, x^2<1 ;; 2x>4\text{ or }2x<1 ~ 2x>4\text{ and }2x<1 ;;
      x>0\text{ or }x<12 ~ x>0\text{ and }x<12 ;; {x>0\text{ or }x<12} ~ {x>0\text{ and }x<12} ~ x>0\text{ and }x<12 ;;
      \color{red}{x>0\text{ or }x<12} ~ \color{red}{x>0\text{ and }x<12} ;;
      x>0, y<12 ~ (0,\infty)\cup(-\infty,12) ~ x>0\text{ or }y<12 ;;
      x>0\text{ or }y>0 ~ x>0\text{ and }y>0 ~ x>0, y>0 ;; x=1\text{ or }y=2 ~ x=1\text{ and }y=2 ~ x=1, y=2 ~ 1, 2 ;;
      (41\text{ or }42) ~ (41,42) ~ 41,42 ;; x\ne1\text{ and }x\ne2 ~ x\ne1\text{ or }x\ne2 ;;
      x<1 \text{ and } x>5 ~ x<1 \text{ or } x>5 ;;
      x\leq -2 \quad \text{and} \quad x\geq 3 ~ (-\infty,-2]\cup[3,\infty) ;;
      x > 0 \text{ and } y > 0 ~ x>0 \text{ or } y > 0 ;; x=1 \text{ or } y=2 ~ x=1 \text{ and } y=2 ;;
      x \ne 1 \text{ or } x\ne 2 ~ x \ne 1 \text{ and } x \ne 2
series
    = \sum_{i=1}^{n} i^2 ~ \sum_{k=1}^n k^2 ;; \prod_{i=1}^{n} a_i ~ \prod_{j=1}^{n} a_j ;;
      \int_0^1 f(t)\,dt ~ \int_0^1 f(x)\,dx ;; \int_0^x e^{-t^2} dt ~ \int_0^x e^{-s^2}\,ds ;;
      \lim_{n\to\infty} a_n ~ \lim_{k \to \infty} a_k ;;
      \sum_{k=0}^{n} \binom{n}{k} x^k ~ \sum_{j=0}^n {n \choose j} x^j ;;
      \sum\limits_{i=1}^{n} x_i ~ \sum_{k=1}^{n} x_k ;;
      \sum_{i=1}^n \sum_{j=1}^n a_{ij} ~ \sum_{k=1}^n \sum_{l=1}^n a_{kl} ;;
      \{x \in \mathbb{R} \mid x > 0\} ~ \{t\in\mathbb{R} : t>0\} ;; 2k\pi, k\in\mathbb{Z} ~ 2n\pi, n\in\mathbb{Z} ;;
      f(x)=\sum_{k=1}^n x^k ~ f(x)=\sum_{i=1}^{n}x^i ;; \sum_{i=1}^{n} a ~ \sum_{k=1}^n a ;;
      \sum_{n=0}^{\infty} \frac{x^n}{n!} ~ \sum_{k=0}^\infty \frac{x^k}{k!} ;;
      \sum_{n=0}^{\infty} (-1)^n x^{2n} ~ \sum_{k=0}^{\infty} (-1)^k x^{2k} ;;
      \sum_{n\ge 0} x^n ~ \sum_{k \geq 0} x^k ;; \int_{0}^{\infty} e^{-x} dx ~ \int_0^\infty e^{-u}\,du
    / \int_0^1 x\,dy ~ \int_0^1 y\,dx
"""

NOT_FOUND = r"""
100,200 ~ 100, 200 # a number with thousands commas isn't a list
1000\text{ m} ~ 1\text{ km} # units aren't converted
\$0.50 ~ 50\text{ cents} # units aren't converted
£5 ~ 5\text{ pounds} # pounds are a weight
90^\circ ~ \frac{\pi}{2} # a degree is a unit, but in a sine or its like
5 \text{ if } x>0 ~ 5 # a value under a condition with "if" or "when" isn't the value
n! = 120 ~ n!=120 # != after a letter is "not equal"
5!! ~ 15 # the double factorial isn't known
\sum_{k=0}^n \binom nk ~ 2^n # sums, products, integrals and limits aren't carried out
1+2+\cdots+n ~ \frac{n(n+1)}{2} # dots are never carried out
1,2,\dots,5 ~ 1,2,3,4,5 # dots are never carried out
0.142857\ldots ~ \frac17 # a repeating decimal has to show its digits twice
0.3\text{ repeating} ~ \frac13 # a word that changes a number, and isn't read
5\text{ and a half} ~ 5.5 # a word that changes a number, and isn't read
\text{half of }10 ~ 5 # a word that changes a number, and isn't read
\text{square root of }5 ~ \sqrt5 # a word that changes a number, and isn't read
2516_8 ~ 1358 # a number in another base is a name
\begin{vmatrix}1&2\\3&4\end{vmatrix} ~ -2 # determinants aren't computed
\overline{z+w} ~ \overline{z}+\overline{w} # an accent makes another name
\vec{v} ~ \mathbf{v} # an accent makes another name
p\lor q ~ q\lor p # logic is compared as text
A\cup B ~ B\cup A # sets that aren't written out are compared as text
\{x\mid x^2=4\} ~ \{-2,2\} # equations aren't solved
x^2=4 ~ x=\pm2 # equations aren't solved
2<2x<4 ~ 1<x<2 # of inequalities, only x < a, a < x < b and |x - a| < b are solved
(1-x)(1-x)^{999} ~ (1-x)^{1000} # too large for the bounds of sympy
(1+i)^{1000} ~ 2^{500} # too large for the bounds of sympy
\arcsin x+\arccos x ~ \frac\pi2 # no proof within the bounds of sympy
"""

BIG = "7" * 5000
OTHERS = [  # those that a line of text can't hold
    ("bignum", True, BIG, BIG), ("bignum", True, "0" + BIG, BIG), ("bignum", True, BIG + ".0", BIG),
    ("bignum", False, BIG + "7", BIG), ("bignum", False, "-" + BIG, BIG), ("bignum", False, BIG + ".5", BIG),
    ("bignum", True, rf"\frac{{{BIG}}}{{2}}", rf"\frac{{{BIG}}}{{2}}"), ("bignum", False, rf"\frac{{{BIG}}}{{2}}", "1/2"),
    ("unicode", True, "1\u00a0234", "1234"), ("unicode", False, "\u202e24", "42"), ("malformed", False, "4\x002", "42"),
    ("malformed", False, "", "0"), ("malformed", False, "", ""),
    ("cases", True, "\\begin\n{cases}\nx & x\\ge 0 \\\\\n-x & x<0\n\\end{cases}", r"\begin{cases} x & x\ge0 \\ -x & x<0\end{cases}"),
    ("style", True, "a\n+ b", "b+a"), ("invisible", True, r"5~", "5"), ("units", True, r"60 \mathrm{~m} / \mathrm{s}", r"60\text{ m/s}"),
]  # fmt: skip


def groups():
    """(kind, are its answers equal?, list of answers) for each group."""
    for row in re.split(r"\n(?=\S)", ANSWERS.strip()):
        kind, *parts = re.split(r"\n    (?=[=/])", row)
        for part in parts:
            for group in re.split(r"\s;;\s", re.sub(r"\s*\n\s*", " ", part[2:])):
                yield kind, part[0] == "=", re.split(r"\s~\s", group.strip())


def pairs() -> list[tuple[str, bool, str, str]]:
    """(kind, equal, a, b) for each pair."""
    found = [
        (kind, equal, first, other)
        for kind, equal, (first, *others) in groups()
        for other in others
    ]
    return (
        found
        + OTHERS
        + [("not found", False, *line.split(" # ")[0].split(" ~ ")) for line in not_found()]
    )


def not_found() -> list[str]:
    return NOT_FOUND.strip().split("\n")


def page(most: int = 12) -> str:
    """The documentation's table, with so many groups of a kind at most."""

    def code(answers, sign: str) -> str:
        return (
            f" {sign} ".join(f"`{answer}`" for answer in answers)
            .replace("|", "\\|")
            .replace("`` `", "`` ` ``")
        )

    rows = ["# What is the same answer", ""]
    rows += [
        "Made from the tests' cases by `python tests/answers.py`; all of them are in that file.",
        "",
    ]
    rows += ["| kind | the same | not the same |", "| --- | --- | --- |"]
    for kind, of_kind in groupby(groups(), key=lambda group: group[0]):
        cells = {True: [], False: []}
        for _, equal, answers in of_kind:
            cells[equal].append(code(answers[:4], "=" if equal else "≠"))
        rows.append(
            f"| {kind} | {'; '.join(cells[True][:most])} | {'; '.join(cells[False][:most])} |"
        )
    rows += [
        "",
        "Right answers that the verifier doesn't find to be the same:",
        "",
        "| | why |",
        "| --- | --- |",
    ]
    for line in not_found():
        answers, why = line.split(" # ")
        rows.append(f"| {code(answers.split(' ~ '), ' ')} | {why} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(page())
